//! Writing `tasks`: new rows whole, later the columns that may change.

use super::{ChangingTaskColumns, FixedTaskColumns, TaskColumns};
use crate::columns::{insert_into, update_by_id};
use crate::conn::{Conn, Values, execute};
use crate::contents;
use crate::{Result, TaskRow};
use jct_domain::Id;

/// Inserts new rows; how many of them: one whose id, or whose idempotency key in its namespace, is taken is left out.
pub(crate) async fn insert_tasks<'r>(conn: &mut Conn<'_>, rows: impl IntoIterator<Item = &'r TaskRow>) -> Result<u64> {
    const INSERT: Values = insert_into!("tasks", TaskColumns, " ON CONFLICT DO NOTHING");
    let mut contents = Vec::new();
    let rows = rows.into_iter().map(|row| {
        let fixed = FixedTaskColumns::of(row, &mut contents)?;
        Ok(TaskColumns { fixed, changing: ChangingTaskColumns::of(row)? }.into_arguments())
    });
    let rows = rows.collect::<Result<_>>()?;
    contents::save(conn, contents).await?;
    INSERT.execute(conn, rows).await
}

pub(crate) const UPDATE_TASKS: Values = update_by_id!("tasks", ChangingTaskColumns);

/// Writes what may change of rows that are there.
pub(crate) async fn update_tasks<'r>(conn: &mut Conn<'_>, rows: impl IntoIterator<Item = &'r TaskRow>) -> Result<()> {
    let rows = rows.into_iter().map(|row| {
        let mut arguments = vec![row.id.to_string().into()];
        arguments.extend(ChangingTaskColumns::of(row)?.into_arguments());
        Ok(arguments)
    });
    UPDATE_TASKS.execute(conn, rows.collect::<Result<_>>()?).await?;
    Ok(())
}

/// Deletes a Task's row, its attempts and the list of its files.
pub(crate) async fn remove_task(conn: &mut Conn<'_>, id: Id) -> Result<()> {
    for delete in [
        "DELETE FROM artifacts WHERE job_id IN (SELECT id FROM jobs WHERE task_id = $1)",
        "DELETE FROM jobs WHERE task_id = $1",
        "DELETE FROM tasks WHERE id = $1",
    ] {
        execute!(conn, delete, id.to_string())?;
    }
    Ok(())
}
