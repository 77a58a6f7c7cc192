-- ConstraintSnapshots are listed by their owner.

CREATE INDEX cwom_constraint_snapshots_owner ON cwom_constraint_snapshots (spec ->> '$.owner.actor_id', id);
