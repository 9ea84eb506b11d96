BEGIN TRANSACTION;
CREATE TABLE requests (request_id TEXT PRIMARY KEY, status TEXT, created_at TEXT, started_at TEXT, completed_at TEXT, error TEXT);
INSERT INTO "requests" VALUES('r1','cancelled','2026-11-25T03:00:00',NULL,'2026-11-25T06:00:00',NULL);
INSERT INTO "requests" VALUES('r2','cancelled','2026-11-25T04:00:00',NULL,'2026-11-25T06:00:00',NULL);
INSERT INTO "requests" VALUES('r3','cancelled','2026-11-25T05:45:00',NULL,'2026-11-25T09:00:00',NULL);
INSERT INTO "requests" VALUES('r4','completed','2026-11-16T12:00:00',NULL,NULL,NULL);
COMMIT;
PRAGMA user_version = 0;
