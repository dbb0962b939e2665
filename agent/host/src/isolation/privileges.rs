//! Who a task is and what it may do: limits, user, capabilities.

use std::io;

use rustix::fs::{Gid, Uid};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, configure_capability_in_ambient_set, remove_capability_from_bounding_set,
    set_capabilities, set_keep_capabilities, set_no_new_privs, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};

use super::Confine;

/// Gives up everything that the task isn't to have. This process has one thread, which is all of it.
pub(super) fn drop_all(confine: &Confine) -> io::Result<()> {
    for (name, limit) in &confine.limits {
        let resource = resource(name).ok_or_else(|| io::Error::other(format!("no limit {name}")))?;
        setrlimit(resource, Rlimit { current: Some(*limit), maximum: Some(*limit) })?;
    }
    let kept = confine
        .capabilities
        .iter()
        .filter_map(|name| capability(name))
        .fold(CapabilitySet::empty(), |a, b| a | b);
    let is_root = rustix::process::geteuid().is_root();
    if !confine.unconfined && is_root {
        let none = CapabilitySets { effective: kept, permitted: kept, inheritable: kept };
        bound(kept)?;
        become_user(confine, !kept.is_empty())?;
        set_capabilities(None, none)?;
        for capability in kept.iter() {
            configure_capability_in_ambient_set(capability, true)?;
        }
    } else {
        become_user(confine, false)?;
        if !confine.unconfined && confine.user_namespace {
            let none = CapabilitySet::empty();
            set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
        }
    }
    if confine.unconfined { Ok(()) } else { Ok(set_no_new_privs(true)?) }
}

/// Takes all other capabilities away for good.
fn bound(kept: CapabilitySet) -> io::Result<()> {
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if kept.contains(capability) {
            continue;
        }
        match remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // The kernel knows no more than this.
            Err(rustix::io::Errno::INVAL) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn become_user(confine: &Confine, keep: bool) -> io::Result<()> {
    let Some(user) = &confine.user else { return Ok(()) };
    set_keep_capabilities(keep)?;
    let groups: Vec<Gid> = user.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    set_thread_groups(&groups)?;
    set_thread_res_gid(gid, gid, gid)?;
    Ok(set_thread_res_uid(uid, uid, uid)?)
}

/// The limit of that name in a job file.
pub(super) fn resource(name: &str) -> Option<Resource> {
    Some(match name {
        "open_files" => Resource::Nofile,
        "core_size" => Resource::Core,
        "file_size" => Resource::Fsize,
        "locked_memory" => Resource::Memlock,
        "stack_size" => Resource::Stack,
        "address_space" => Resource::As,
        _ => return None,
    })
}

/// The same limit in the terms of container runtimes.
pub(super) fn name_of_limit(name: &str) -> Option<&'static str> {
    Some(match name {
        "open_files" => "RLIMIT_NOFILE",
        "core_size" => "RLIMIT_CORE",
        "file_size" => "RLIMIT_FSIZE",
        "locked_memory" => "RLIMIT_MEMLOCK",
        "stack_size" => "RLIMIT_STACK",
        "address_space" => "RLIMIT_AS",
        _ => return None,
    })
}

/// The capability of that name in a job file.
fn capability(name: &str) -> Option<CapabilitySet> {
    Some(match name {
        "chown" => CapabilitySet::CHOWN,
        "dac_override" => CapabilitySet::DAC_OVERRIDE,
        "fowner" => CapabilitySet::FOWNER,
        "ipc_lock" => CapabilitySet::IPC_LOCK,
        "kill" => CapabilitySet::KILL,
        "net_bind_service" => CapabilitySet::NET_BIND_SERVICE,
        "net_raw" => CapabilitySet::NET_RAW,
        "setgid" => CapabilitySet::SETGID,
        "setuid" => CapabilitySet::SETUID,
        "sys_nice" => CapabilitySet::SYS_NICE,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cell_state::job::isolation::{CAPABILITIES, LIMITS};

    #[test]
    fn every_name_a_job_may_use_means_something() {
        assert!(CAPABILITIES.iter().all(|name| capability(name).is_some()));
        assert!(LIMITS.iter().all(|name| resource(name).is_some() && name_of_limit(name).is_some()));
    }
}
