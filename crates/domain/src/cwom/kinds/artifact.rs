use serde_json::{Map, Value};

use crate::choices;
use crate::cwom::Ref;
use crate::cwom::limits::{DIGEST, ISSUE, MAX_LIST, MEDIA_TYPE, META, RUN, URL, WORDS};
use crate::table::Holds::{Choice, Integer, List, Object, Text};
use crate::table::Need::{Empty, Optional, Or, Required};
use crate::table::record;

record! {
    /// Something that a Run made: it can be fetched by its address or checked by its digest.
    pub struct Artifact {
        /// The Run that made it.
        produced_by: Ref = Required, RUN;
        /// The Issue that it is for.
        for_issue: Ref = Required, ISSUE;
        /// What it is.
        r#type: ArtifactType = Required, Choice(ArtifactType::NAMES);
        /// For people.
        title: String = Required, Text(1, 512);
        /// Where it is.
        uri: String = Required, URL;
        /// What it is bound by, such as sha256:….
        digest: Option<String> = Optional, DIGEST;
        /// IANA media type.
        media_type: Option<String> = Optional, MEDIA_TYPE;
        /// Its size, in bytes.
        size_bytes: Option<u64> = Optional, Integer(0, i64::MAX);
        /// The beginning of it, for people.
        preview: Option<String> = Optional, Text(0, 4000);
        /// Whether it was checked.
        verification: Verification = Empty, Object(&Verification::SHAPE);
        /// Words to find it by.
        tags: Vec<String> = Empty, WORDS;
        /// Free-form.
        meta: Map<String, Value> = Empty, META;
    }
}

record! {
    /// Whether an Artifact was checked.
    pub struct Verification {
        /// unverified, passed or failed; unverified by default.
        status: VerificationStatus = Or("unverified"), Choice(VerificationStatus::NAMES);
        /// Each check that was made.
        checks: Vec<Check> = Empty, List(MAX_LIST, &Object(&Check::SHAPE));
    }
}

record! {
    /// One check of an Artifact.
    pub struct Check {
        /// What was checked, such as sha256.
        name: String = Required, Text(1, 128);
        /// How it ended.
        status: VerificationStatus = Required, Choice(VerificationStatus::NAMES);
        /// Where that can be seen.
        evidence_uri: Option<String> = Optional, URL;
    }
}

choices! {
    /// What an Artifact is.
    pub enum ArtifactType {
        /// A change to code, as a diff.
        CodePatch = "code_patch",
        /// A commit.
        Commit = "commit",
        /// A pull request.
        Pr = "pr",
        /// Something built.
        Build = "build",
        /// A container image.
        ContainerImage = "container_image",
        /// Documentation.
        Doc = "doc",
        /// A report.
        Report = "report",
        /// Data.
        Dataset = "dataset",
        /// What was printed.
        Log = "log",
        /// What happened, and the manifest that binds it.
        Trace = "trace",
        /// Anything else in bytes.
        Binary = "binary",
        /// An address.
        Link = "link",
    }
}

choices! {
    /// How a check ended.
    pub enum VerificationStatus {
        /// It was not made.
        Unverified = "unverified",
        /// All is well.
        Passed = "passed",
        /// It is not what it should be.
        Failed = "failed",
    }
}
