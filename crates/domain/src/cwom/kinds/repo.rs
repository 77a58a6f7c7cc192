use serde_json::{Map, Value};

use crate::choices;
use crate::cwom::limits::{ACTORS, META, URLS, WORDS};
use crate::cwom::{Actor, Source};
use crate::table::Holds::{Choice, Object, Text};
use crate::table::Need::{Empty, Optional, Or, Required};
use crate::table::record;

record! {
    /// A repository that work is done on.
    pub struct Repo {
        /// For people.
        name: String = Required, Text(1, 256);
        /// The one name among all Repos, such as owner/name. Never changes.
        slug: String = Required, Text(1, 256);
        /// Where it comes from.
        source: Source = Required, Object(&Source::SHAPE);
        /// The branch that work starts from; main by default.
        default_branch: String = Or("main"), Text(1, 256);
        /// Who may see it: public, private or internal; private by default.
        visibility: Visibility = Or("private"), Choice(Visibility::NAMES);
        /// Who answers for it.
        owners: Vec<Actor> = Empty, ACTORS;
        /// What work on it may use.
        policy: RepoPolicy = Empty, Object(&RepoPolicy::SHAPE);
        /// Related addresses.
        links: Vec<String> = Empty, URLS;
        /// Words to find it by.
        tags: Vec<String> = Empty, WORDS;
        /// Free-form.
        meta: Map<String, Value> = Empty, META;
    }
}

record! {
    /// What work on a Repo may use.
    pub struct RepoPolicy {
        /// Names of tools.
        allowed_tools: Vec<String> = Empty, WORDS;
        /// The name of a set of secrets.
        secrets_profile: Option<String> = Optional, Text(1, 128);
    }
}

choices! {
    /// Who may see a Repo.
    pub enum Visibility {
        /// Everybody.
        Public = "public",
        /// Its owners and whom they name.
        Private = "private",
        /// Everybody in the organisation.
        Internal = "internal",
    }
}
