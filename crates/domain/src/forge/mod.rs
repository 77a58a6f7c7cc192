//! Forges: where repositories are, with which credentials they are read and delivered to, and who may have that done.
//!
//! The configuration is a YAML file, a list, [`Forges::read`]; docs/forges.md is its reference. Credentials are not in it: it names the
//! Secrets that have them.

mod defaults;
mod gate;
mod lookup;
mod pattern;
mod read;

use serde::{Deserialize, Serialize};

use crate::choices;
pub use gate::findings;
pub use lookup::{Granted, NotGranted};
pub use pattern::{Prefix, is_like, is_path_like};
pub use read::{MAX_FORGES_BYTES, MAX_SECRET_BYTES};

/// The keys of the Secret that one attempt reads or delivers by: it is made for that attempt, and not the one that is configured.
pub mod secret {
    /// Who.
    pub const USERNAME: &str = "username";
    /// What proves it.
    pub const TOKEN: &str = "token";
    /// Why there is none, in words that whoever made the Task may read.
    pub const TROUBLE: &str = "trouble";
}

/// What stands for `owner/name` in [`Forge::git`].
pub const REPO: &str = "{repo}";

choices! {
    /// What a forge is, and so how it is spoken to.
    pub enum Kind {
        /// GitHub, and GitHub Enterprise Server.
        Github = "github",
        /// GitLab.
        Gitlab = "gitlab",
        /// Gitea and Forgejo.
        Gitea = "gitea",
        /// git over HTTPS and nothing else: branches can be delivered, pull requests not.
        Git = "git",
    }
}

choices! {
    /// What becomes of a change.
    pub enum Mode {
        /// It stays in the trace.
        None = "none",
        /// A branch on the forge.
        Branch = "branch",
        /// A branch, and a pull request that asks for it.
        PullRequest = "pull_request",
    }
}

/// A Secret of the operator's namespace.
///
/// It holds `token` (and `username`, where the forge wants one), or `app-id`, `installation-id` and `private-key` of a GitHub App; of
/// signing, `key`, a private key as `ssh-keygen` writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// Its name.
    pub secret: String,
}

/// All of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Forges(pub Vec<Forge>);

/// Where some repositories are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forge {
    /// In messages and metrics.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Which repositories it serves: of several forges the one with the longest prefix does.
    pub repos: Vec<Prefix>,
    /// From where git reads, with [`REPO`] for `owner/name`: `https://git.example.org/{repo}.git`.
    pub git: String,
    /// Its API up to the version, such as `https://api.github.com` and `https://gitea.example.org/api/v1`. Of [`Kind::Git`] there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
    /// Whether the addresses may be `http://`, by which whoever is on the way reads the credentials and the code.
    #[serde(default)]
    pub allow_plaintext: bool,
    /// Who alone vouches for its hosts: certificates in PEM. Public authorities do where there is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<String>,
    /// With what it is read where a grant says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<Credential>,
    /// With what is delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write: Option<Credential>,
    /// Who may have it read with the credential, and delivered to; none grant nothing.
    #[serde(default)]
    pub grants: Vec<Grant>,
    /// How is delivered.
    #[serde(default)]
    pub delivery: Delivery,
}

/// Who may do what with which repositories.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Names of namespaces, or beginnings that end in `*`.
    pub namespaces: Vec<String>,
    /// Which repositories. Of the grants that name a namespace, the one with the longest prefix counts.
    pub repos: Vec<Prefix>,
    /// Whether they are read with the credential.
    #[serde(default)]
    pub read: bool,
    /// What may be delivered.
    #[serde(default)]
    pub deliver: Vec<Mode>,
}

/// How is delivered to a forge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Delivery {
    /// What every branch that is delivered begins with.
    pub branch_prefix: String,
    /// Branches that are never delivered to, whatever they begin with: names, in which `*` stands for anything.
    pub protected: Vec<String>,
    /// What the message of a commit says of the agent.
    pub trailers: Trailers,
    /// With what commits are signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signing: Option<Credential>,
    /// Who must have approved.
    pub review: ReviewPolicy,
}

choices! {
    /// How a commit's message names the agent: projects differ in what they want.
    pub enum AgentTrailer {
        /// Not at all.
        None = "none",
        /// As an author beside the committer.
        CoAuthoredBy = "Co-authored-by",
        /// As the Linux kernel has it.
        AssistedBy = "Assisted-by",
        /// As what made all of it.
        GeneratedBy = "Generated-by",
    }
}

/// What the message of a commit says of the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Trailers {
    /// By which word.
    pub agent: AgentTrailer,
    /// Its name and address, `Name <address>`; the executor's name where there is nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
}

/// Who must have approved what is delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReviewPolicy {
    /// Whether anybody must. Paths that are protected need a review in any case.
    pub required: bool,
    /// How many different people.
    pub approvals: u32,
    /// For how long they are waited for.
    pub expires_hours: u32,
    /// Who alone counts; whoever may review where there is nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reviewers: Option<Reviewers>,
    /// Whether people of the Task's own chain may approve it.
    pub self_approval: bool,
    /// How many Tasks may follow up a change.
    pub follow_ups: u32,
    /// Which paths need a review whatever else is configured: see [`is_path_like`].
    pub protected_paths: Vec<String>,
}

/// Reviewers by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reviewers {
    /// Users as the API server knows them.
    pub users: Vec<String>,
    /// Groups.
    pub groups: Vec<String>,
}
