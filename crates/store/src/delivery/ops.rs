//! How deliveries begin and get on.

use serde_json::{Value, json};

use super::ChangeDelivery;
use super::rows::DeliveryChanges;
use crate::Result;
use crate::audit::Change;
use crate::operation::{Changes, Needs, Operation, View};
use crate::rows::stored;
use jct_domain::Actor;
use jct_domain::audit::{Action, EntityKind};
use jct_domain::delivery::Delivery;

/// The entry about a delivery that begins.
pub(crate) fn begun(delivery: &Delivery) -> Change {
    entry(delivery, Action::Created, None, Some(json!(delivery)))
}

impl Operation for ChangeDelivery {
    type Output = bool;

    fn needs(&self, needs: &mut Needs) {
        needs.deliveries.insert(self.before.id);
    }

    fn decide(&self, view: &View) -> Result<(bool, Changes)> {
        if view.deliveries.get(self.before.id) != Some(&self.before) {
            return Ok((false, Changes::default()));
        }
        let Delivery { updated_at, due_at, .. } = &self.after;
        let after = Delivery { updated_at: stored(*updated_at), due_at: due_at.map(stored), ..self.after.clone() };
        let (old, new) = difference(&json!(self.before), &json!(after));
        // That it is looked at again is nothing that happened.
        let entries = match new.as_object().is_some_and(|new| !new.is_empty()) {
            true if self.before.phase != after.phase => {
                vec![entry(&after, Action::StatusChanged, Some(old), Some(new))]
            }
            true => vec![entry(&after, Action::Updated, Some(old), Some(new))],
            false => Vec::new(),
        };
        let deliveries = DeliveryChanges { changed: Some(Box::new(after)), ..DeliveryChanges::default() };
        Ok((true, Changes { deliveries, entries, ..Changes::default() }))
    }
}

/// What changed, but for when.
fn difference(before: &Value, after: &Value) -> (Value, Value) {
    let (mut old, mut new) = (json!({}), json!({}));
    let fields = before.as_object().into_iter().chain(after.as_object()).flat_map(|fields| fields.keys());
    for field in fields.filter(|field| !["updated_at", "due_at"].contains(&field.as_str())) {
        if before[field] != after[field] {
            old[field] = before[field].clone();
            new[field] = after[field].clone();
        }
    }
    (old, new)
}

fn entry(delivery: &Delivery, action: Action, before: Option<Value>, after: Option<Value>) -> Change {
    Change {
        actor: Actor::controller(),
        action,
        entity_kind: EntityKind::Delivery,
        entity_id: delivery.id.to_string(),
        before,
        after,
        note: delivery.message.clone(),
        trace_id: delivery.trace_id.clone(),
    }
}
