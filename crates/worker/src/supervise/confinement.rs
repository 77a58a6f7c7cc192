//! How the executor is launched here, and what holds of its confinement: tried before it starts.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use super::Failure;
use crate::launch::{Launch, UNCONFINED};
use crate::namespaces::Enclosure;
use crate::privileges;
use crate::sandbox::{Enforced, Sandbox};
use crate::work::Work;
use jct_domain::executor::SandboxMode;

/// What a process outside of namespaces may do that is refused to one within.
const WITHOUT_NAMESPACES: &str = "the executor is a process among yours: it can change the mode, times and attributes of your \
                                  files, see which processes you run, and outlive a supervisor that is killed";
/// The same, under root.
const AS_ROOT: &str = "and it is root, though without capabilities: it can make any program of root's set-user-ID";

/// How the executor is launched, and what holds of that.
#[derive(Debug)]
pub struct Confinement {
    pub launch: Launch,
    enforced: Enforced,
    has_namespaces: bool,
}

impl Confinement {
    /// What the trace says of it.
    pub fn event(&self) -> Value {
        let Enforced { landlock_abi, seccomp, missing } = &self.enforced;
        let mut fields = json!({"landlock_abi": landlock_abi, "seccomp": seccomp, "missing": missing});
        if self.has_namespaces
            && let Value::Object(fields) = &mut fields
        {
            fields.insert("namespaces".into(), true.into());
        }
        fields
    }
}

/// Where an executor is confined, and how much.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub own: &'a Path,
    pub work: &'a Work,
    /// Whether it is to have namespaces of its own.
    pub namespaces: bool,
    /// Whether it may be root, where that cannot be helped.
    pub as_root: bool,
}

impl Place<'_> {
    /// The first way to confine it that can be had; `Err` says what is missing.
    ///
    /// # Errors
    /// If nothing can be tried.
    pub async fn confine(&self, sandbox: Sandbox) -> Result<Result<Confinement, String>, Failure> {
        let mode = sandbox.mode;
        let without = Launch::Confined(sandbox.clone());
        if !self.namespaces {
            return Ok(self.probe(&without).await?.map(|enforced| Confinement {
                launch: without,
                enforced,
                has_namespaces: false,
            }));
        }
        let own = [self.work.writable(), self.work.readable()].concat();
        let enclosure = Enclosure { sandbox, tmp: self.work.tmp(), own: own.clone() };
        let within = Launch::Enclosed(Box::new(enclosure));
        let probed = match privileges::can_watch_another_user() {
            Ok(()) => self.probe(&within).await?,
            Err(why) => Err(why),
        };
        let why = match probed {
            Ok(enforced) => return Ok(Ok(Confinement { launch: within, enforced, has_namespaces: true })),
            Err(why) => why,
        };
        if mode == SandboxMode::Required {
            return Ok(Err(format!("{why}; with sandbox: best-effort it would run without: {WITHOUT_NAMESPACES}")));
        }
        let is_root = nix::unistd::geteuid().is_root();
        if is_root && !self.as_root {
            return Ok(Err(format!(
                "{why}; as root nothing is run without, unless by --as-root: {WITHOUT_NAMESPACES}, {AS_ROOT}"
            )));
        }
        if is_root {
            // As far as it got, they are somebody else's.
            let root = nix::unistd::geteuid().as_raw();
            let back = own.iter().filter(|path| path.exists()).try_for_each(|path| privileges::give(path, root));
            back.map_err(|error| Failure::worker("take the work folder back", &error))?;
        }
        let means = if is_root { format!("{WITHOUT_NAMESPACES}, {AS_ROOT}") } else { WITHOUT_NAMESPACES.to_owned() };
        Ok(self.probe(&without).await?.map(|mut enforced| {
            enforced.missing.insert(0, format!("{why}: {means}"));
            Confinement { launch: without, enforced, has_namespaces: false }
        }))
    }

    /// What of the sandbox holds here; `Err` says what is missing.
    async fn probe(&self, launch: &Launch) -> Result<Result<Enforced, String>, Failure> {
        let output = launch
            .probe(self.own)
            .env_clear()
            .current_dir(self.work.source())
            .stdin(Stdio::null())
            .output()
            .await
            .map_err(|error| Failure::worker("try the sandbox", &error))?;
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.code() == Some(UNCONFINED.into()) {
            return Ok(Err(said.trim().trim_start_matches("jct worker launch: ").to_owned()));
        }
        if !output.status.success() {
            return Err(Failure::worker("try the sandbox", &format!("{}: {}", output.status, said.trim())));
        }
        serde_json::from_slice(&output.stdout).map(Ok).map_err(|error| Failure::worker("try the sandbox", &error))
    }
}
