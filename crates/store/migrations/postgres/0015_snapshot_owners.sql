-- ConstraintSnapshots are listed by their owner. The expression is written as PostgreSQL shows it.

CREATE INDEX cwom_constraint_snapshots_owner
    ON cwom_constraint_snapshots (((spec::json -> 'owner'::text) ->> 'actor_id'::text), id);
