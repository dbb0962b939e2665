//! The fields `rootfs` and `bundle` of `[groups.run]`: what a container of the `oci` driver is made of.

use cell_state::job::container::Container;

use super::JobFileError;
use super::convert::{only, plain};
use super::section::Section;

/// What only containers have.
pub(super) const FIELDS: &[&str] = &["rootfs", "bundle"];

/// Reads them; `None` when the driver is another one.
pub(super) fn container(section: &Section<'_>, is_oci: bool) -> Result<Option<Container>, JobFileError> {
    if !is_oci {
        only(section, "oci", FIELDS)?;
        return Ok(None);
    }
    match (section.get("rootfs"), section.get("bundle")) {
        (Some(_), Some(stray)) => {
            Err(stray.error("a container has a rootfs or a bundle; remove one of the two"))
        }
        (None, Some(bundle)) => Ok(Some(Container::Bundle(plain(&bundle)?))),
        (Some(rootfs), None) => Ok(Some(Container::Rootfs(plain(&rootfs)?))),
        (None, None) => {
            let rootfs = section.require("rootfs", "rootfs = \"/srv/images/web\"")?;
            Ok(Some(Container::Rootfs(plain(&rootfs)?)))
        }
    }
}
