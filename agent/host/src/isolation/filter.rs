//! The filter of system calls: everything that changes the machine, or looks into its kernel, fails with "not permitted".
//!
//! It names what is refused, after the default profiles of container runtimes, rather than what is allowed: a program may
//! use a system call that this build hasn't heard of. New ways to make namespaces are "not implemented", so that the C
//! library falls back to those that can be looked into.

use std::collections::BTreeMap;
use std::io;

use seccompiler::SeccompCmpArgLen::{Dword, Qword};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

use serde_json::{Value, json};

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// System calls with their names.
macro_rules! calls {
    ($($(#[$on:meta])* $call:ident),* $(,)?) => { &[$($(#[$on])* (stringify!($call), libc::$call)),*] };
}

/// Refused whatever the arguments.
const REFUSED: &[(&str, i64)] = calls![
    SYS_acct,
    SYS_add_key,
    SYS_adjtimex,
    SYS_bpf,
    SYS_chroot,
    SYS_clock_adjtime,
    SYS_clock_settime,
    SYS_delete_module,
    SYS_fanotify_init,
    SYS_finit_module,
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fsopen,
    SYS_fspick,
    SYS_init_module,
    SYS_io_uring_enter,
    SYS_io_uring_register,
    SYS_io_uring_setup,
    SYS_kcmp,
    SYS_kexec_file_load,
    SYS_kexec_load,
    SYS_keyctl,
    SYS_lookup_dcookie,
    SYS_mount,
    SYS_mount_setattr,
    SYS_move_mount,
    SYS_name_to_handle_at,
    SYS_nfsservctl,
    SYS_open_by_handle_at,
    SYS_open_tree,
    SYS_perf_event_open,
    SYS_pivot_root,
    SYS_quotactl,
    SYS_reboot,
    SYS_request_key,
    SYS_setdomainname,
    SYS_sethostname,
    SYS_setns,
    SYS_settimeofday,
    SYS_swapoff,
    SYS_swapon,
    SYS_syslog,
    SYS_umount2,
    SYS_unshare,
    SYS_userfaultfd,
    SYS_vhangup,
    #[cfg(target_arch = "x86_64")]
    SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    SYS_uselib,
];

/// Flags of `clone` that make namespaces.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
];

/// Puts the filter on this process and all that it starts, for ever.
pub(super) fn apply() -> io::Result<()> {
    for program in programs().map_err(io::Error::other)? {
        seccompiler::apply_filter(&program).map_err(io::Error::other)?;
    }
    Ok(())
}

fn programs() -> Result<[BpfProgram; 2], seccompiler::BackendError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let program = |rules: Rules, errno: i32| {
        let refuse = SeccompAction::Errno(errno as u32);
        BpfProgram::try_from(SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch)?)
    };
    let mut refused: Rules = REFUSED.iter().map(|(_, call)| (*call, Vec::new())).collect();
    refused.insert(libc::SYS_clone, NAMESPACES.into_iter().map(has_flag).collect::<Result<_, _>>()?);
    // Typing for the terminal of somebody else.
    let typing = SeccompCondition::new(1, Dword, SeccompCmpOp::Eq, libc::TIOCSTI)?;
    refused.insert(libc::SYS_ioctl, vec![SeccompRule::new(vec![typing])?]);
    let unknown = Rules::from([(libc::SYS_clone3, Vec::new())]);
    Ok([program(refused, libc::EPERM)?, program(unknown, libc::ENOSYS)?])
}

fn has_flag(flag: i32) -> Result<SeccompRule, seccompiler::BackendError> {
    let bit = flag as u64;
    SeccompRule::new(vec![SeccompCondition::new(0, Qword, SeccompCmpOp::MaskedEq(bit), bit)?])
}

/// The same for the runtime of a container.
pub(super) fn profile() -> Value {
    let errno = |names: Value, errno: i32, args: Value| json!({"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": errno, "args": args});
    let bits = |index: u32, mask: u64, value: u64| json!([{"index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}]);
    let names = REFUSED.iter().map(|(name, _)| name.trim_start_matches("SYS_"));
    let mut rules = vec![errno(names.collect(), libc::EPERM, json!([]))];
    for flag in NAMESPACES {
        rules.push(errno(json!(["clone"]), libc::EPERM, bits(0, flag as u64, flag as u64)));
    }
    rules.push(errno(json!(["ioctl"]), libc::EPERM, bits(1, u64::from(u32::MAX), libc::TIOCSTI)));
    rules.push(errno(json!(["clone3"]), libc::ENOSYS, json!([])));
    json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_compiles_for_this_machine() {
        let [refused, unknown] = programs().unwrap();
        assert!(refused.len() > REFUSED.len() && !unknown.is_empty());
    }
}
