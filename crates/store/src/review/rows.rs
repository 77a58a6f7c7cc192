//! `cwom_evidence_packs`, `cwom_review_decisions`, `open_reviews`, `task_people`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{PackFilter, ReviewFilter};
use crate::columns::{columns, insert_into, sql};
use crate::conn::{Conn, RawRow, Select, Values, execute, fetch};
use crate::rows::{json, to_json};
use crate::{MAX_PAGE, Page, Result};
use jct_domain::Id;
use jct_domain::evidence::{EvidencePack, Verdict};
use jct_domain::review::{Decision, ReviewDecision};

const PACKS: &str = "cwom_evidence_packs";
const DECISIONS: &str = "cwom_review_decisions";

columns! {
    pub(crate) struct PackColumns {
        id: String,
        task_id: String,
        attempt: i64,
        run_id: Option<String>,
        issue_id: Option<String>,
        namespace: String,
        subject_sha256: String,
        verdict: String,
        evaluated_at: i64,
        pack: String,
    }
}

columns! {
    pub(crate) struct ReviewColumns {
        id: String,
        pack_id: String,
        task_id: String,
        issue_id: Option<String>,
        namespace: String,
        subject_sha256: String,
        decision: String,
        decided_at: i64,
        review: String,
    }
}

columns! {
    pub(crate) struct OpenColumns {
        pack_id: String,
        task_id: String,
        expires_at: i64,
    }
}

columns! {
    pub(crate) struct PeopleColumns {
        task_id: String,
        user_name: String,
        since: i64,
    }
}

/// What is looked at.
#[derive(Debug, Default)]
pub(crate) struct ReviewNeeds {
    /// Whether these packs are there, and the decisions about them.
    pub(super) packs: BTreeSet<Id>,
}

impl ReviewNeeds {
    pub(crate) fn is_empty(&self) -> bool {
        self.packs.is_empty()
    }
}

/// What an operation has written.
#[derive(Debug, Default)]
pub(crate) struct ReviewChanges {
    pub(crate) pack: Option<Box<EvidencePack>>,
    pub(crate) decision: Option<Box<ReviewDecision>>,
    /// A pack of which nobody is waited for any more.
    pub(crate) closed: Option<Id>,
    /// Somebody who asked for a Task, and when.
    pub(crate) asker: Option<(Id, String, Timestamp)>,
}

/// What is there, and what was decided since.
#[derive(Debug, Default)]
pub(crate) struct ReviewView {
    there: BTreeSet<Id>,
    decisions: BTreeMap<Id, Vec<ReviewDecision>>,
    packs: Vec<EvidencePack>,
    new: Vec<ReviewDecision>,
    closed: Vec<Id>,
    askers: Vec<(Id, String, Timestamp)>,
}

impl ReviewView {
    pub(super) fn has(&self, pack: Id) -> bool {
        self.there.contains(&pack)
    }

    /// The decisions about a pack, in the order in which they were made.
    pub(super) fn decisions(&self, pack: Id) -> &[ReviewDecision] {
        self.decisions.get(&pack).map_or(&[], Vec::as_slice)
    }

    /// Takes over what was decided.
    pub(crate) fn stage(&mut self, changes: ReviewChanges) {
        let ReviewChanges { pack, decision, closed, asker } = changes;
        if let Some(pack) = pack {
            self.there.insert(pack.id);
            self.packs.push(*pack);
        }
        if let Some(decision) = decision {
            self.decisions.entry(decision.for_evidence_pack.id).or_default().push((*decision).clone());
            self.new.push(*decision);
        }
        self.closed.extend(closed);
        self.askers.extend(asker);
    }
}

/// Loads what is needed.
pub(crate) async fn load(conn: &mut Conn<'_>, needs: ReviewNeeds) -> Result<ReviewView> {
    const ABOUT: &str =
        sql!("SELECT ", ReviewColumns::NAMES, " FROM cwom_review_decisions WHERE pack_id = $1 ORDER BY decided_at, id");
    let mut view = ReviewView::default();
    for id in needs.packs {
        if fetch!((i64,), conn, "SELECT attempt FROM cwom_evidence_packs WHERE id = $1", id.to_string())?.is_empty() {
            continue;
        }
        view.there.insert(id);
        let rows = fetch!(ReviewColumns, conn, ABOUT, id.to_string())?;
        view.decisions.insert(id, rows.into_iter().map(decision).collect::<Result<_>>()?);
    }
    Ok(view)
}

/// Writes what was decided.
pub(crate) async fn save(conn: &mut Conn<'_>, view: ReviewView) -> Result<()> {
    const NEW_PACKS: Values = insert_into!("cwom_evidence_packs", PackColumns, "");
    const NEW_DECISIONS: Values = insert_into!("cwom_review_decisions", ReviewColumns, "");
    const OPENED: Values = insert_into!("open_reviews", OpenColumns, "");
    const CLOSED: Values = Values { before: "DELETE FROM open_reviews WHERE pack_id IN (VALUES", width: 1, after: ")" };
    const PEOPLE: Values = insert_into!("task_people", PeopleColumns, " ON CONFLICT DO NOTHING");
    let ReviewView { there: _, decisions: _, packs, new, closed, askers } = view;
    if packs.is_empty() && new.is_empty() && closed.is_empty() && askers.is_empty() {
        return Ok(());
    }
    let opened = packs.iter().filter_map(|pack| {
        let until = pack.review_required.as_ref()?.expires_at.unwrap_or(Timestamp::MAX);
        let (pack_id, task_id) = (pack.id.to_string(), pack.task_id.to_string());
        Some(OpenColumns { pack_id, task_id, expires_at: until.as_microsecond() }.into_arguments())
    });
    OPENED.execute(conn, opened.collect()).await?;
    let of_packs = packs.iter().map(|pack| Ok(pack_columns(pack)?.into_arguments()));
    NEW_PACKS.execute(conn, of_packs.collect::<Result<_>>()?).await?;
    let of_new = new.iter().map(|decision| Ok(decision_columns(decision)?.into_arguments()));
    NEW_DECISIONS.execute(conn, of_new.collect::<Result<_>>()?).await?;
    CLOSED.execute(conn, closed.into_iter().map(|id| vec![id.to_string().into()]).collect()).await?;
    let people = askers.into_iter().map(|(task_id, user_name, at)| {
        PeopleColumns { task_id: task_id.to_string(), user_name, since: at.as_microsecond() }.into_arguments()
    });
    PEOPLE.execute(conn, people.collect()).await?;
    Ok(())
}

/// Removes what there is of a Task.
pub(crate) async fn remove(conn: &mut Conn<'_>, task_id: Id) -> Result<()> {
    let id = task_id.to_string();
    execute!(
        conn,
        "DELETE FROM open_reviews WHERE pack_id IN (SELECT id FROM cwom_evidence_packs WHERE task_id = $1)",
        &id
    )?;
    execute!(conn, "DELETE FROM cwom_review_decisions WHERE task_id = $1", &id)?;
    execute!(conn, "DELETE FROM cwom_evidence_packs WHERE task_id = $1", &id)?;
    execute!(conn, "DELETE FROM task_people WHERE task_id = $1", &id)?;
    Ok(())
}

fn pack_columns(pack: &EvidencePack) -> Result<PackColumns> {
    let id_of = |reference: &Option<jct_domain::cwom::Ref>| reference.as_ref()?.id().map(|id| id.to_string());
    Ok(PackColumns {
        id: pack.id.to_string(),
        task_id: pack.task_id.to_string(),
        attempt: pack.subject.attempt.into(),
        run_id: id_of(&pack.for_run),
        issue_id: id_of(&pack.for_issue),
        namespace: pack.namespace.clone(),
        subject_sha256: pack.subject_sha256.clone(),
        verdict: pack.verdict.as_str().into(),
        evaluated_at: pack.evaluated_at.as_microsecond(),
        pack: to_json(pack)?,
    })
}

fn decision_columns(decision: &ReviewDecision) -> Result<ReviewColumns> {
    Ok(ReviewColumns {
        id: decision.id.to_string(),
        pack_id: decision.for_evidence_pack.id.to_string(),
        task_id: decision.task_id.to_string(),
        issue_id: decision.for_issue.as_ref().and_then(|issue| issue.id()).map(|id| id.to_string()),
        namespace: decision.namespace.clone(),
        subject_sha256: decision.subject_sha256.clone(),
        decision: decision.decision.as_str().into(),
        decided_at: decision.created_at.as_microsecond(),
        review: to_json(decision)?,
    })
}

fn pack(columns: PackColumns) -> Result<EvidencePack> {
    json(PACKS, &columns.id, &columns.pack)
}

fn decision(columns: ReviewColumns) -> Result<ReviewDecision> {
    json(DECISIONS, &columns.id, &columns.review)
}

/// Whether `row`, of all columns, can be read.
pub(crate) fn pack_parses(row: &RawRow) -> Result<()> {
    pack(row.read::<PackColumns>()?).map(drop)
}

/// Whether `row`, of all columns, can be read.
pub(crate) fn decision_parses(row: &RawRow) -> Result<()> {
    decision(row.read::<ReviewColumns>()?).map(drop)
}

pub(super) async fn pack_by_id(conn: &mut Conn<'_>, id: Id) -> Result<Option<EvidencePack>> {
    const ONE: &str = sql!("SELECT ", PackColumns::NAMES, " FROM cwom_evidence_packs WHERE id = $1");
    fetch!(PackColumns, conn, ONE, id.to_string())?.pop().map(pack).transpose()
}

pub(super) async fn pack_of_subject(conn: &mut Conn<'_>, subject_sha256: &str) -> Result<Option<EvidencePack>> {
    const ONE: &str = sql!("SELECT ", PackColumns::NAMES, " FROM cwom_evidence_packs WHERE subject_sha256 = $1");
    fetch!(PackColumns, conn, ONE, subject_sha256)?.pop().map(pack).transpose()
}

pub(super) async fn pack_of_attempt(conn: &mut Conn<'_>, task_id: Id, attempt: u32) -> Result<Option<EvidencePack>> {
    const ONE: &str =
        sql!("SELECT ", PackColumns::NAMES, " FROM cwom_evidence_packs WHERE task_id = $1 AND attempt = $2");
    fetch!(PackColumns, conn, ONE, task_id.to_string(), i64::from(attempt))?.pop().map(pack).transpose()
}

pub(super) async fn packs(conn: &mut Conn<'_>, filter: &PackFilter, page: Page) -> Result<Vec<EvidencePack>> {
    let PackFilter { namespace, task_id, run_id, issue_id, verdict } = filter;
    let Page { limit, offset, after } = page;
    let mut select = Select::new(sql!("SELECT ", PackColumns::NAMES, " FROM cwom_evidence_packs"));
    select.filter_by("namespace = ?", namespace.clone());
    select.filter_by("task_id = ?", task_id.map(|id| id.to_string()));
    select.filter_by("run_id = ?", run_id.map(|id| id.to_string()));
    select.filter_by("issue_id = ?", issue_id.map(|id| id.to_string()));
    select.filter_by("verdict = ?", verdict.map(Verdict::as_str));
    select.filter_by("id < ?", after.map(|id| id.to_string()));
    select.page(" ORDER BY id DESC", limit.clamp(1, MAX_PAGE), offset);
    let rows: Vec<PackColumns> = select.fetch(conn).await?;
    rows.into_iter().map(pack).collect()
}

pub(super) async fn decision_by_id(conn: &mut Conn<'_>, id: Id) -> Result<Option<ReviewDecision>> {
    const ONE: &str = sql!("SELECT ", ReviewColumns::NAMES, " FROM cwom_review_decisions WHERE id = $1");
    fetch!(ReviewColumns, conn, ONE, id.to_string())?.pop().map(decision).transpose()
}

/// In the order in which they were made.
pub(super) async fn decisions_about(conn: &mut Conn<'_>, subject_sha256: &str) -> Result<Vec<ReviewDecision>> {
    const ABOUT: &str = sql!(
        "SELECT ",
        ReviewColumns::NAMES,
        " FROM cwom_review_decisions WHERE subject_sha256 = $1 ORDER BY decided_at, id"
    );
    fetch!(ReviewColumns, conn, ABOUT, subject_sha256)?.into_iter().map(decision).collect()
}

pub(super) async fn decisions(conn: &mut Conn<'_>, filter: &ReviewFilter, page: Page) -> Result<Vec<ReviewDecision>> {
    let ReviewFilter { namespace, task_id, evidence_pack_id, issue_id, decision: wanted } = filter;
    let Page { limit, offset, after } = page;
    let mut select = Select::new(sql!("SELECT ", ReviewColumns::NAMES, " FROM cwom_review_decisions"));
    select.filter_by("namespace = ?", namespace.clone());
    select.filter_by("task_id = ?", task_id.map(|id| id.to_string()));
    select.filter_by("pack_id = ?", evidence_pack_id.map(|id| id.to_string()));
    select.filter_by("issue_id = ?", issue_id.map(|id| id.to_string()));
    select.filter_by("decision = ?", wanted.map(Decision::as_str));
    select.filter_by("id < ?", after.map(|id| id.to_string()));
    select.page(" ORDER BY id DESC", limit.clamp(1, MAX_PAGE), offset);
    let rows: Vec<ReviewColumns> = select.fetch(conn).await?;
    rows.into_iter().map(decision).collect()
}

pub(super) async fn expired(conn: &mut Conn<'_>, now: Timestamp) -> Result<Vec<EvidencePack>> {
    const EXPIRED: &str = sql!(
        "SELECT ",
        PackColumns::NAMES,
        " FROM cwom_evidence_packs WHERE id IN \
         (SELECT pack_id FROM open_reviews WHERE expires_at <= $1 ORDER BY expires_at LIMIT 100)"
    );
    fetch!(PackColumns, conn, EXPIRED, now.as_microsecond())?.into_iter().map(pack).collect()
}

/// Who asked for a Task besides whom its row tells.
pub(super) async fn askers(conn: &mut Conn<'_>, task_id: Id) -> Result<Vec<String>> {
    let sql = "SELECT user_name FROM task_people WHERE task_id = $1 ORDER BY user_name";
    let rows = fetch!((String,), conn, sql, task_id.to_string())?;
    Ok(rows.into_iter().map(|(user,)| user).collect())
}
