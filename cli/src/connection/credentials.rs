//! Which certificate a command uses: the one asked for, else the one that may do most.

use std::path::Path;

use transport::Role;

use crate::failure::Failure;

/// The roles tried when none is asked for: the one that may do most comes first.
const ROLES: [Role; 3] = [Role::Operator, Role::User, Role::Reader];

/// Picks the certificate to use: of the role asked for, else operator, user or reader, whichever is there first;
/// of the name asked for, else the only one of the role.
pub(super) fn choose(pki: &Path, role: Option<Role>, name: Option<&str>) -> Result<(Role, String), Failure> {
    let roles: Vec<Role> = role.map_or_else(|| ROLES.to_vec(), |r| vec![r]);
    if let (Some(role), Some(name)) = (role, name) {
        return Ok((role, name.to_owned()));
    }
    let files = std::fs::read_dir(pki).map_err(|e| {
        let way_out = "name the directory of your certificates with --pki or OHM_PKI; an operator makes them with \
                       `ohm pki init` and `ohm pki issue`";
        Failure::Input(format!("--pki: can't read {}: {e}; {way_out}", pki.display()))
    })?;
    let files: Vec<String> = files.flatten().filter_map(|f| f.file_name().into_string().ok()).collect();
    for role in &roles {
        let prefix = format!("{role}-");
        let named = files.iter().filter_map(|f| f.strip_prefix(&prefix)?.strip_suffix(".key"));
        let mut names: Vec<&str> = named.filter(|n| name.is_none_or(|wanted| *n == wanted)).collect();
        names.sort_unstable();
        match names[..] {
            [] => {}
            [only] => return Ok((*role, only.to_owned())),
            [..] => {
                let listed = names.join(", ");
                let problem =
                    format!("{} holds several {role} certificates ({listed}); choose one", pki.display());
                return Err(Failure::Input(format!("--name: {problem} with --name or OHM_NAME")));
            }
        }
    }
    let wanted = roles.iter().map(|r| r.word()).collect::<Vec<_>>().join(", ");
    let named = name.map_or_else(String::new, |n| format!(" named {n:?}"));
    Err(Failure::Input(format!(
        "--pki: {} holds no {wanted} certificate{named}; `ohm pki issue operator NAME --pki {}` makes one",
        pki.display(),
        pki.display()
    )))
}
