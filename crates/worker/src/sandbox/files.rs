//! Landlock: files, TCP, signals.

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};

use super::{Enforced, Sandbox};
use jct_domain::executor::SandboxMode;

/// Without this version files could be truncated that may not be written (Linux 6.2).
const REQUIRED: ABI = ABI::V3;
/// From this version on, signals to processes outside are refused (Linux 6.12).
pub const SIGNALS_SINCE: i32 = 6;
/// From this version on, TCP is (Linux 6.7). No socket for it can be made in the first place: see the system calls.
const TCP_SINCE: i32 = 4;
/// What every program takes for granted.
const DEVICES: [&str; 6] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];

/// Restricts this thread, and what it becomes.
///
/// # Errors
/// In words, if the kernel is too old or Landlock is off, and `sandbox` requires it.
pub fn confine(sandbox: &Sandbox, enforced: &mut Enforced) -> Result<(), String> {
    let required = sandbox.mode == SandboxMode::Required;
    let status = restrict(sandbox, required).map_err(|error| {
        format!("files cannot be confined: {error}; Landlock of Linux 6.2 or later must be on (see /sys/kernel/security/lsm)")
    })?;
    enforced.landlock_abi = match status {
        (RulesetStatus::NotEnforced, _) => 0,
        (_, LandlockStatus::Available { effective_abi, kernel_abi }) => kernel_abi.unwrap_or(effective_abi as i32),
        (_, LandlockStatus::NotEnabled | LandlockStatus::NotImplemented) => 0,
    };
    for (since, what) in [(1, "files"), (TCP_SINCE, "TCP"), (SIGNALS_SINCE, "signals")] {
        if enforced.landlock_abi < since {
            enforced.missing.push(format!("this kernel's Landlock does not confine {what}"));
        }
    }
    Ok(())
}

fn restrict(sandbox: &Sandbox, required: bool) -> Result<(RulesetStatus, LandlockStatus), RulesetError> {
    let level = if required { CompatLevel::HardRequirement } else { CompatLevel::BestEffort };
    let newest = ABI::V6;
    let read = AccessFs::from_read(newest);
    let write = AccessFs::from_all(newest) & !(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev);
    let device: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::IoctlDev;
    let created = Ruleset::default()
        .set_compatibility(level)
        .handle_access(AccessFs::from_all(REQUIRED))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(newest))?
        .handle_access(AccessNet::from_all(newest))?
        .scope(Scope::from_all(newest))?
        .create()?
        .set_compatibility(CompatLevel::BestEffort)
        .add_rules(path_beneath_rules(&sandbox.reads, read))?
        .add_rules(path_beneath_rules(&sandbox.writes, write))?
        .add_rules(path_beneath_rules(DEVICES, device))?;
    let status = created.restrict_self()?;
    Ok((status.ruleset, status.landlock))
}
