-- An entry is not replaced either: INSERT OR REPLACE removes the one that is there without asking the trigger on DELETE, unless the
-- connection is set to recursive_triggers, which only JCT's own are.
CREATE TRIGGER audit_log_no_replace BEFORE INSERT ON audit_log
WHEN EXISTS (SELECT 1 FROM audit_log WHERE seq = NEW.seq OR id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'audit_log is append-only'); END;
