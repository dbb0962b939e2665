//! The tables `[[groups.artifacts]]` and `[[groups.secrets]]`: what a task is given before it starts.

use cell_state::job::data::{Artifact, Data, Secret, Unpack};
use serde_json::{Value as Json, json};

use super::JobFileError;
use super::convert::plain;
use super::section::{Given, Section};

/// What is done with an artifact, as it is written.
const UNPACK: [(&str, Unpack); 3] = [("no", Unpack::No), ("tar", Unpack::Tar), ("tar.gz", Unpack::TarGz)];

/// Reads both tables of a group.
pub(super) fn data(group: &Section<'_>) -> Result<Data, JobFileError> {
    let artifacts = group.list_of("artifacts", "tables ([[groups.artifacts]])")?;
    let secrets = group.list_of("secrets", "tables ([[groups.secrets]])")?;
    Ok(Data {
        artifacts: artifacts.iter().map(artifact).collect::<Result<_, _>>()?,
        secrets: secrets.iter().map(secret).collect::<Result<_, _>>()?,
    })
}

fn artifact(given: &Given<'_>) -> Result<Artifact, JobFileError> {
    let section = Section::open(given.path.clone(), given.node, "groups[].artifacts[]")?;
    let source = section.require("source", "source = \"https://…\" or \"/srv/…\"")?;
    let unpack = section.get("unpack").map_or(Ok(Unpack::No), |given| given.word(&UNPACK))?;
    let text = plain(&source)?;
    let destination = match (section.get("destination"), unpack) {
        (Some(given), _) => plain(&given)?,
        (None, Unpack::Tar | Unpack::TarGz) => ".".to_owned(),
        (None, Unpack::No) => Artifact::file_name(&text).map(str::to_owned).ok_or_else(|| {
            source.error(format!("{} ends with no file name; add destination = \"…\"", source.shown()))
        })?,
    };
    if let (Some(mode), Unpack::Tar | Unpack::TarGz) = (section.get("mode"), unpack) {
        return Err(mode.error("what is unpacked has the permissions in the archive; remove one of the two"));
    }
    Ok(Artifact {
        sha256: section.get("sha256").map(|given| sha256(&given)).transpose()?,
        source: text,
        destination,
        mode: section.get("mode").map_or(Ok(0o644), |given| permissions(&given))?,
        unpack,
    })
}

fn sha256(given: &Given<'_>) -> Result<[u8; 32], JobFileError> {
    let text = given.text()?;
    let wrong = || given.error(format!("{} is no sha256; write its 64 hexadecimal digits", given.shown()));
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let mut digest = [0; 32];
    for (i, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| wrong())?;
    }
    Ok(digest)
}

fn permissions(given: &Given<'_>) -> Result<u16, JobFileError> {
    let text = given.text()?;
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let mode = u16::from_str_radix(text, 8).ok().filter(|mode| digits && *mode <= 0o777);
    mode.ok_or_else(|| {
        given.error(format!("{} is no permissions; write three octal digits such as \"755\"", given.shown()))
    })
}

fn secret(given: &Given<'_>) -> Result<Secret, JobFileError> {
    let section = Section::open(given.path.clone(), given.node, "groups[].secrets[]")?;
    let name = section.require("name", "name = \"my-secret\"")?.text()?.to_owned();
    let file = section.text("file", &name)?;
    Ok(Secret { name, file })
}

/// Artifacts in the terms of a job file.
pub(crate) fn artifacts_shown(data: &Data) -> Vec<Json> {
    let word = |unpack: Unpack| UNPACK.iter().find(|(_, known)| *known == unpack).map(|(word, _)| *word);
    let shown = |artifact: &Artifact| {
        let hex = |digest: [u8; 32]| digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        json!({
            "source": artifact.source,
            "sha256": artifact.sha256.map(hex),
            "destination": artifact.destination,
            "mode": format!("{:03o}", artifact.mode),
            "unpack": word(artifact.unpack),
        })
    };
    data.artifacts.iter().map(shown).collect()
}

/// Secrets in the terms of a job file: their names, which are all that the cell knows of them.
pub(crate) fn secrets_shown(data: &Data) -> Vec<Json> {
    data.secrets.iter().map(|secret| json!({"name": secret.name, "file": secret.file})).collect()
}
