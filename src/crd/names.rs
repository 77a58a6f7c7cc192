//! Labels, annotations and the finalizer that JCT puts on objects. Users cannot set or change those that start with
//! `jct.dev/`, save for [`ID`].

/// The API group.
pub const GROUP: &str = "jct.dev";

/// Annotation: the user that the API server authenticated when the object was created.
pub const SUBMITTED_BY: &str = "jct.dev/submitted-by";
/// Annotation: the trace id.
pub const TRACE_ID: &str = "jct.dev/trace-id";
/// Annotation of a Task: the id of the Run that it carries out. Only the operator makes such Tasks.
pub const RUN: &str = "jct.dev/run";
/// Annotation: the seal on who submitted the object, its trace id, its Run, and the object itself.
pub const STAMP: &str = "jct.dev/stamp";
/// Annotation: the user that the API server authenticated when `spec.cancel` became true.
pub const CANCELLED_BY: &str = "jct.dev/cancelled-by";
/// Annotation: the user that the API server authenticated when the spec last changed.
pub const CHANGED_BY: &str = "jct.dev/changed-by";
/// Annotation of a Task: the last changes of its spec, as JSON.
pub const CHANGES: &str = "jct.dev/changes";
/// Annotation of a Task: the program that asked for it at the REST door on somebody's behalf, by its own account.
pub const CLIENT: &str = "jct.dev/client";
/// Annotation: pins the id, for a restore from a backup. The one that users may set, when they create the object.
pub const ID: &str = "jct.dev/id";

/// The annotations about one user: who, and what else the API server said of them. The last one seals them.
pub type UserAnnotations = [&'static str; 5];
/// Of who submitted the object.
pub const SUBMITTED: UserAnnotations =
    [SUBMITTED_BY, "jct.dev/submitted-by-uid", "jct.dev/submitted-by-groups", "jct.dev/submitted-by-extra", STAMP];
/// Of who changed its spec last.
pub const CHANGED: UserAnnotations = [
    CHANGED_BY,
    "jct.dev/changed-by-uid",
    "jct.dev/changed-by-groups",
    "jct.dev/changed-by-extra",
    "jct.dev/changed-by-stamp",
];
pub const CANCELLED: UserAnnotations = [
    CANCELLED_BY,
    "jct.dev/cancelled-by-uid",
    "jct.dev/cancelled-by-groups",
    "jct.dev/cancelled-by-extra",
    "jct.dev/cancelled-by-stamp",
];

/// The annotations that only JCT writes.
pub fn reserved() -> impl Iterator<Item = &'static str> {
    SUBMITTED.into_iter().chain(CHANGED).chain(CANCELLED).chain([TRACE_ID, RUN, CHANGES])
}

/// Whether this annotation says of a user what decides on their rights: it may be long, and is under its seal by its digest.
pub fn is_of_rights(name: &str) -> bool {
    [SUBMITTED, CHANGED, CANCELLED].iter().any(|[_, _, groups, extra, _]| name == *groups || name == *extra)
}

/// Finalizer: the deletion is recorded, and the Job ended, before the object goes.
pub const FINALIZER: &str = "jct.dev/record";

/// Label on Jobs and pods: the Task's id, in lower case.
pub const TASK_ID_LABEL: &str = "jct.dev/task-id";
/// Label on Jobs and pods: the attempt, from 1.
pub const ATTEMPT_LABEL: &str = "jct.dev/attempt";
/// Label on Jobs and pods that deliver a change: which try, from 1.
pub const DELIVERY_LABEL: &str = "jct.dev/delivery";
/// Annotation and label on Jobs and pods: the Task's namespace.
pub const TASK_NAMESPACE: &str = "jct.dev/task-namespace";
/// Annotation on Jobs and pods: the Task's name. A label too, where it is not too long for one.
pub const TASK_NAME: &str = "jct.dev/task-name";
/// Label `app.kubernetes.io/managed-by`.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY_LABEL`] on what the controller makes.
pub const MANAGED_BY: &str = "jct";
