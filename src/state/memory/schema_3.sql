-- The process of `pid`: the boot of the machine and the time at which it started, as numbers are given out again.
ALTER TABLE run ADD COLUMN process TEXT NOT NULL DEFAULT '';
