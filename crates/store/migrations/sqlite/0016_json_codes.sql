-- JSON that is written from now on, of audit entries and work objects, has frequent pieces of it as codes
-- (crates/store/src/json_codes.rs). What was written before stays, and is read as it is. There is nothing to change here; but a
-- program that knows no codes must not open the database.
SELECT 1;
