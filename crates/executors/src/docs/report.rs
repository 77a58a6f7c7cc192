//! What was found, as `report.json` says it. Names of files are escaped: `%XX` for bytes that are not plain text.

use std::collections::BTreeMap;

use jct_domain::choices;
use serde::Serialize;

/// The version of this form; fields may be added in 1.x.
pub const SCHEMA_VERSION: &str = "1.0";

/// The whole report.
#[derive(Debug, Serialize)]
pub struct Report {
    /// [`SCHEMA_VERSION`].
    pub schema_version: &'static str,
    pub objective: String,
    /// `owner/name`.
    pub repo: String,
    /// As asked for.
    #[serde(rename = "ref")]
    pub git_ref: String,
    /// The commit that was looked at.
    pub commit: String,
    /// What findings and outlines are limited to; empty for all.
    pub path: String,
    pub totals: Totals,
    /// How many findings of each kind there are.
    pub findings_by_kind: BTreeMap<Kind, u64>,
    /// By document and line.
    pub findings: Vec<Finding>,
    /// By document.
    pub outlines: Vec<Outline>,
    /// To the web, by address. None was fetched.
    pub external_links: Vec<ExternalLink>,
    /// What was left out, and why.
    pub notes: Vec<String>,
}

/// Sums over the documents in scope.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Markdown files.
    pub documents: u64,
    pub headings: u64,
    /// Links and images, into the repository and out of it.
    pub links: u64,
    /// Of these, links to the web.
    pub external_links: u64,
    /// Of these, links that no look at the repository can judge: mail, and what lies in a submodule or behind a symlink.
    pub unchecked_links: u64,
    /// All findings, also those that are not listed.
    pub findings: u64,
}

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal;)+) => {
        choices! {
            /// What a finding is.
            pub enum Kind {
                $($(#[doc = $doc])+ $name = $text,)+
            }
        }

        impl Kind {
            /// For people.
            pub fn explanation(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim_ascii(),)+ }
            }
        }
    };
}

kinds! {
    /// The repository has no such file or folder.
    BrokenLink = "broken_link";
    /// The document has no such heading or anchor.
    BrokenAnchor = "broken_anchor";
    /// The file has no such line.
    LineOutOfRange = "line_out_of_range";
    /// The link leads above the root of the repository.
    LeavesRepository = "leaves_repository";
    /// The link's label is defined nowhere.
    UndefinedReference = "undefined_reference";
    /// The link leads nowhere.
    EmptyLink = "empty_link";
    /// The image has no text for those who can't see it.
    ImageWithoutText = "image_without_text";
    /// The repository, a package or a folder of sources has no README.
    MissingReadme = "missing_readme";
    /// The document has no title: no heading of the first level, nor any that it begins with.
    MissingTitle = "missing_title";
    /// Another document has the same title.
    DuplicateTitle = "duplicate_title";
    /// No other document leads to this one.
    OrphanedDocument = "orphaned_document";
    /// A heading is more than one level below the one before it.
    SkippedLevel = "skipped_level";
    /// The document is too large, or no text in UTF-8.
    NotRead = "not_read";
}

/// Something that wants mending.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The document, or the folder.
    pub path: String,
    /// From 1; none for the document as a whole.
    pub line: Option<u64>,
    pub kind: Kind,
    pub message: String,
}

/// The headings of a document.
#[derive(Clone, Debug, Serialize)]
pub struct Outline {
    pub path: String,
    /// Its title, if it has one.
    pub title: Option<String>,
    /// In order.
    pub headings: Vec<OutlineHeading>,
}

#[derive(Clone, Debug, Serialize)]
pub struct OutlineHeading {
    /// 1 to 6.
    pub level: u8,
    /// Without markup.
    pub text: String,
    /// What follows the `#` in a link to it.
    pub anchor: String,
    /// From 1.
    pub line: u64,
}

/// An address on the web.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExternalLink {
    /// As written, without credentials.
    pub url: String,
    /// How often it is linked to.
    pub count: u64,
    /// The first place, as `document:line`.
    pub first: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_json() {
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}
