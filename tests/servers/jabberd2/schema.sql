-- What the modules that are configured here keep, and the accounts that c2s looks at.
CREATE TABLE authreg (username TEXT NOT NULL, realm TEXT NOT NULL, password TEXT);
CREATE TABLE active (
  "collection-owner" TEXT NOT NULL,
  "object-sequence" INTEGER PRIMARY KEY,
  "time" INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE "roster-items" (
  "collection-owner" TEXT NOT NULL,
  "object-sequence" INTEGER PRIMARY KEY,
  "jid" TEXT NOT NULL,
  "name" TEXT,
  "to" BOOLEAN NOT NULL,
  "from" BOOLEAN NOT NULL,
  "ask" INTEGER NOT NULL
);
CREATE TABLE "roster-groups" (
  "collection-owner" TEXT NOT NULL,
  "object-sequence" INTEGER PRIMARY KEY,
  "jid" TEXT NOT NULL,
  "group" TEXT NOT NULL
);
CREATE TABLE queue (
  "collection-owner" TEXT NOT NULL,
  "object-sequence" INTEGER PRIMARY KEY,
  "xml" TEXT NOT NULL
);
