use serde_json::{Map, Value};

use crate::cwom::limits::{
    DIGEST, DOCTRINES, ISSUE, MAX_INLINE_BYTES, MAX_LIST, MEDIA_TYPE, META, SENTENCES, SNAPSHOT, URL, URLS, WORDS,
};
use crate::cwom::{Document, Ref};
use crate::table::Holds::{Bytes, List, Object, Text};
use crate::table::Need::{Empty, Optional, Or, Required};
use crate::table::record;

record! {
    /// What one has to know to do an Issue. Never changes: a new fact is a new ContextPacket.
    pub struct ContextPacket {
        /// The Issue that it is for.
        for_issue: Ref = Required, ISSUE;
        /// Its version, in the author's own counting.
        version: String = Required, Text(1, 64);
        /// In short.
        summary: String = Required, Text(1, 4000);
        /// What the work starts from.
        inputs: PacketInputs = Empty, Object(&PacketInputs::SHAPE);
        /// What is taken for granted.
        assumptions: Vec<String> = Empty, SENTENCES;
        /// What is not known yet.
        open_questions: Vec<String> = Empty, SENTENCES;
        /// What is to be done.
        instructions: String = Or(""), Text(0, 8000);
        /// The doctrine that binds the work.
        doctrine_refs: Vec<Ref> = Empty, DOCTRINES;
        /// The constraints that the work is done under.
        constraint_snapshot: Option<Ref> = Optional, SNAPSHOT;
        /// Words to find it by.
        tags: Vec<String> = Empty, WORDS;
        /// Free-form; `task` holds what only a Task knows.
        meta: Map<String, Value> = Empty, META;
    }
}

record! {
    /// What the work starts from.
    pub struct PacketInputs {
        /// Documents.
        documents: Vec<Document> = Empty, List(MAX_LIST, &Object(&Document::SHAPE));
        /// Data.
        data_blobs: Vec<DataBlob> = Empty, List(20, &Object(&DataBlob::SHAPE));
        /// Related addresses.
        links: Vec<String> = Empty, URLS;
    }
}

record! {
    /// Data that the work needs, here or elsewhere.
    pub struct DataBlob {
        /// For people and programs.
        name: String = Required, Text(1, 256);
        /// IANA media type.
        media_type: String = Required, MEDIA_TYPE;
        /// Where it is, if elsewhere.
        uri: Option<String> = Optional, URL;
        /// The data itself, as text of at most 256 KiB.
        inline: Option<String> = Optional, Bytes(MAX_INLINE_BYTES);
        /// What it was when it was listed, such as sha256:….
        digest: Option<String> = Optional, DIGEST;
    }
}
