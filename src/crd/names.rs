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
/// Annotation: the webhook's seal on the three above, so that the controller knows that a webhook wrote them.
pub const STAMP: &str = "jct.dev/stamp";
/// Annotation: the user that the API server authenticated when `spec.cancel` became true.
pub const CANCELLED_BY: &str = "jct.dev/cancelled-by";
/// Annotation of a work object: the user that the API server authenticated when the spec last changed.
pub const CHANGED_BY: &str = "jct.dev/changed-by";
/// Annotation: pins the id, for a restore from a backup. The one that users may set.
pub const ID: &str = "jct.dev/id";
/// The annotations that only the webhook writes.
pub const RESERVED: [&str; 6] = [SUBMITTED_BY, TRACE_ID, RUN, STAMP, CANCELLED_BY, CHANGED_BY];

/// Finalizer: the deletion is recorded, and the Job ended, before the object goes.
pub const FINALIZER: &str = "jct.dev/record";

/// Label on Jobs and pods: the Task's id, in lower case.
pub const TASK_ID_LABEL: &str = "jct.dev/task-id";
/// Label on Jobs and pods: the attempt, from 1.
pub const ATTEMPT_LABEL: &str = "jct.dev/attempt";
/// Annotation on Jobs and pods: the Task's namespace.
pub const TASK_NAMESPACE: &str = "jct.dev/task-namespace";
/// Annotation on Jobs and pods: the Task's name, which may be too long for a label.
pub const TASK_NAME: &str = "jct.dev/task-name";
/// Label `app.kubernetes.io/managed-by`.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY_LABEL`] on what the controller makes.
pub const MANAGED_BY: &str = "jct";
