BEGIN TRANSACTION;
CREATE TABLE cancelled (
  place TEXT NOT NULL, id TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (place, id)
) WITHOUT ROWID;
INSERT INTO "cancelled" VALUES('/srv/narration/requests.db','"r3"',1795597200.0);
CREATE TABLE clock (
  id INTEGER PRIMARY KEY, boot_id TEXT, since_boot REAL NOT NULL, wall REAL NOT NULL,
  refused INTEGER NOT NULL
);
INSERT INTO "clock" VALUES(1,'00000000000000000000000000000001',3670.809202669,1795586400.0,0);
INSERT INTO "clock" VALUES(2,'00000000000000000000000000000001',3673.319128982,1795597200.0,0);
CREATE TABLE counters (name TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID;
INSERT INTO "counters" VALUES('last_success_at',1795586400.57543);
INSERT INTO "counters" VALUES('removed_bytes',100.0);
INSERT INTO "counters" VALUES('runs:partial',1.0);
INSERT INTO "counters" VALUES('runs:success',1.0);
CREATE TABLE runs (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  started_at REAL NOT NULL,
  finished_at REAL,
  outcome TEXT,
  exit_code INTEGER,
  trigger TEXT NOT NULL,
  version TEXT NOT NULL,
  removed_count INTEGER NOT NULL DEFAULT 0,
  freed_bytes INTEGER NOT NULL DEFAULT 0,
  cancelled_count INTEGER NOT NULL DEFAULT 0,
  problem_count INTEGER NOT NULL DEFAULT 0,
  pid INTEGER NOT NULL,
  pid_started INTEGER,
  boot_id TEXT,
  story TEXT
);
INSERT INTO "runs" VALUES(1,1795586400.0,1795586400.57543,'success',0,'hand','0.1.0',1,100,2,0,8970,366997,'00000000000000000000000000000001','{"id":1,"outcome":"success","exit_code":0,"message":"Cleanup tasks completed successfully","trigger":"hand","version":"0.1.0","started_at":1795586400.0,"finished_at":1795586400.57543,"planned_count":3,"removed_count":1,"freed_bytes":100,"removed_by_reason":{"expired":1},"freed_by_reason":{"expired":100},"cancelled_count":2,"cancelled_by_status":{"queued":1,"generating":1},"deleted_count":0,"deleted_by_status":{},"overwritten_count":0,"skipped_count":0,"failed_count":0,"problem_count":0,"warning_count":0,"problems":[],"cache_state":{"entry_count":2,"size_bytes":200,"limit_bytes":524288000},"requests_by_status":{"completed":1,"queued":1,"cancelled":2}}');
INSERT INTO "runs" VALUES(2,1795597200.0,1.79559720214711666108e+09,'partial',3,'hand','0.1.0',0,0,1,1,8982,367272,'00000000000000000000000000000001','{"id":2,"outcome":"partial","exit_code":3,"message":"Cleanup tasks completed in part: see the problems","trigger":"hand","version":"0.1.0","started_at":1795597200.0,"finished_at":1795597202.1471167,"planned_count":1,"removed_count":0,"freed_bytes":0,"removed_by_reason":{},"freed_by_reason":{},"cancelled_count":1,"cancelled_by_status":{"queued":1},"deleted_count":0,"deleted_by_status":{},"overwritten_count":0,"skipped_count":0,"failed_count":0,"problem_count":1,"warning_count":0,"problems":[{"half":"cache","code":"index_unreadable","message":"the index of /srv/narration/cache cannot be used: it is not whole JSON (Unterminated string starting at: line 4 column 19 (char 84)). Nothing is removed. If the service is not writing it, restore it from a backup","subject":null,"severity":"problem","repeats":0}],"cache_state":null,"requests_by_status":{"cancelled":3,"completed":1}}');
INSERT INTO "runs" VALUES(3,1795608000.0,NULL,NULL,NULL,'hand','0.1.0',0,0,0,0,9057,367578,'00000000000000000000000000000001',NULL);
CREATE INDEX runs_by_time ON runs (started_at);
CREATE INDEX runs_open ON runs (id) WHERE outcome IS NULL;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('runs',3);
COMMIT;
PRAGMA user_version = 1;
