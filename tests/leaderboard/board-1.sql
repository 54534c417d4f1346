BEGIN TRANSACTION;
CREATE TABLE entries (
	id INTEGER NOT NULL, 
	created DATETIME NOT NULL, 
	task VARCHAR NOT NULL, 
	major INTEGER NOT NULL, 
	comparability_key VARCHAR NOT NULL, 
	source VARCHAR NOT NULL, 
	source_version VARCHAR NOT NULL, 
	size VARCHAR NOT NULL, 
	split VARCHAR NOT NULL, 
	source_sha256 VARCHAR NOT NULL, 
	artefact_sha256 VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	team VARCHAR NOT NULL, 
	trust VARCHAR NOT NULL, 
	ranked BOOLEAN NOT NULL, 
	version VARCHAR NOT NULL, 
	seeds VARCHAR NOT NULL, 
	git_commit VARCHAR, 
	git_dirty BOOLEAN, 
	wall_s DOUBLE NOT NULL, 
	report VARCHAR NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT one_row_for_one_artefact UNIQUE (comparability_key, artefact_sha256, ranked)
);
INSERT INTO "entries" VALUES(1,'2026-11-29 06:15:18.000000','atoms-2d',1,'13b3c582529c49c6802894d85be9406cfa8f7cf92016b8c7160956b0ed4e1b36','atoms-2d','1.0.0','tiny','test','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','first-0.9','first','','scored',1,'0.1.0','{"bootstrap": 1}','cccccccccccccccccccccccccccccccccccccccc',0,1.5,'{
 "comparability_key": "13b3c582529c49c6802894d85be9406cfa8f7cf92016b8c7160956b0ed4e1b36",
 "task": "atoms-2d",
 "major": 1,
 "source": {
  "name": "atoms-2d",
  "version": "1.0.0",
  "size": "tiny",
  "split": "test",
  "sha256": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
  "n": 30,
  "n_clusters": 6
 },
 "entry": "first",
 "trust": "scored",
 "artefact_sha256": "first-0.9",
 "metrics": [
  {
   "name": "f1",
   "version": "1.0",
   "title": "F1",
   "unit": "",
   "direction": "max",
   "value": 0.9,
   "interval": {
    "method": "cluster-bca",
    "level": 0.95,
    "low": 0.85,
    "high": 0.9500000000000001,
    "n_clusters": 6,
    "resamples": 99,
    "seed": 1
   }
  }
 ],
 "slices": [
  {
   "column": "material",
   "label": "au-001",
   "title": "material au-001",
   "n": 9,
   "n_clusters": 3,
   "support": "low",
   "value": 0.9,
   "interval": null,
   "sums": {
    "tp": 3.0
   }
  }
 ],
 "worst": {
  "column": "material",
  "label": "au-001",
  "title": "material au-001",
  "n": 9,
  "n_clusters": 3,
  "support": "low",
  "value": 0.9,
  "interval": null,
  "sums": {
   "tp": 3.0
  }
 },
 "gluing_residual": 0.0,
 "cost": {
  "wall_s_per_sample": 0.1
 },
 "provenance": {
  "version": "0.1.0",
  "python": "3.11",
  "numpy": "2.0",
  "git_commit": "cccccccccccccccccccccccccccccccccccccccc",
  "git_dirty": false,
  "seeds": {
   "bootstrap": 1
  },
  "wall_s": 1.5,
  "created": "2026-01-01T00:00:00+00:00"
 },
 "team": "",
 "schema": "stemtwin/report@1"
}');
INSERT INTO "entries" VALUES(2,'2026-11-29 06:15:18.000000','atoms-2d',1,'13b3c582529c49c6802894d85be9406cfa8f7cf92016b8c7160956b0ed4e1b36','atoms-2d','1.0.0','tiny','test','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','second-0.88','second','','baseline',1,'0.1.0','{"bootstrap": 1}','cccccccccccccccccccccccccccccccccccccccc',0,1.5,'{
 "comparability_key": "13b3c582529c49c6802894d85be9406cfa8f7cf92016b8c7160956b0ed4e1b36",
 "task": "atoms-2d",
 "major": 1,
 "source": {
  "name": "atoms-2d",
  "version": "1.0.0",
  "size": "tiny",
  "split": "test",
  "sha256": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
  "n": 30,
  "n_clusters": 6
 },
 "entry": "second",
 "trust": "baseline",
 "artefact_sha256": "second-0.88",
 "metrics": [
  {
   "name": "f1",
   "version": "1.0",
   "title": "F1",
   "unit": "",
   "direction": "max",
   "value": 0.88,
   "interval": {
    "method": "cluster-bca",
    "level": 0.95,
    "low": 0.83,
    "high": 0.93,
    "n_clusters": 6,
    "resamples": 99,
    "seed": 1
   }
  }
 ],
 "slices": [
  {
   "column": "material",
   "label": "au-001",
   "title": "material au-001",
   "n": 9,
   "n_clusters": 3,
   "support": "low",
   "value": 0.88,
   "interval": null,
   "sums": {
    "tp": 3.0
   }
  }
 ],
 "worst": {
  "column": "material",
  "label": "au-001",
  "title": "material au-001",
  "n": 9,
  "n_clusters": 3,
  "support": "low",
  "value": 0.88,
  "interval": null,
  "sums": {
   "tp": 3.0
  }
 },
 "gluing_residual": 0.0,
 "cost": {
  "wall_s_per_sample": 0.1
 },
 "provenance": {
  "version": "0.1.0",
  "python": "3.11",
  "numpy": "2.0",
  "git_commit": "cccccccccccccccccccccccccccccccccccccccc",
  "git_dirty": false,
  "seeds": {
   "bootstrap": 1
  },
  "wall_s": 1.5,
  "created": "2026-01-01T00:00:00+00:00"
 },
 "team": "",
 "schema": "stemtwin/report@1"
}');
INSERT INTO "entries" VALUES(3,'2026-11-29 06:15:18.000000','atoms-2d',1,'13b3c582529c49c6802894d85be9406cfa8f7cf92016b8c7160956b0ed4e1b36','atoms-2d','1.0.0','tiny','test','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','told-0.95','told','','reported',0,'0.1.0','{"bootstrap": 1}','cccccccccccccccccccccccccccccccccccccccc',0,1.5,'{
 "comparability_key": "13b3c582529c49c6802894d85be9406cfa8f7cf92016b8c7160956b0ed4e1b36",
 "task": "atoms-2d",
 "major": 1,
 "source": {
  "name": "atoms-2d",
  "version": "1.0.0",
  "size": "tiny",
  "split": "test",
  "sha256": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
  "n": 30,
  "n_clusters": 6
 },
 "entry": "told",
 "trust": "reported",
 "artefact_sha256": "told-0.95",
 "metrics": [
  {
   "name": "f1",
   "version": "1.0",
   "title": "F1",
   "unit": "",
   "direction": "max",
   "value": 0.95,
   "interval": {
    "method": "cluster-bca",
    "level": 0.95,
    "low": 0.8999999999999999,
    "high": 1.0,
    "n_clusters": 6,
    "resamples": 99,
    "seed": 1
   }
  }
 ],
 "slices": [
  {
   "column": "material",
   "label": "au-001",
   "title": "material au-001",
   "n": 9,
   "n_clusters": 3,
   "support": "low",
   "value": 0.95,
   "interval": null,
   "sums": {
    "tp": 3.0
   }
  }
 ],
 "worst": {
  "column": "material",
  "label": "au-001",
  "title": "material au-001",
  "n": 9,
  "n_clusters": 3,
  "support": "low",
  "value": 0.95,
  "interval": null,
  "sums": {
   "tp": 3.0
  }
 },
 "gluing_residual": 0.0,
 "cost": {
  "wall_s_per_sample": 0.1
 },
 "provenance": {
  "version": "0.1.0",
  "python": "3.11",
  "numpy": "2.0",
  "git_commit": "cccccccccccccccccccccccccccccccccccccccc",
  "git_dirty": false,
  "seeds": {
   "bootstrap": 1
  },
  "wall_s": 1.5,
  "created": "2026-01-01T00:00:00+00:00"
 },
 "team": "",
 "schema": "stemtwin/report@1"
}');
INSERT INTO "entries" VALUES(4,'2026-11-29 06:15:18.000000','atoms-2d',1,'13b3c582529c49c6802894d85be9406cfa8f7cf92016b8c7160956b0ed4e1b36','atoms-2d','1.0.0','tiny','test','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','third[31m‮-0.5','third[31m‮','','scored',1,'0.1.0','{"bootstrap": 1}','cccccccccccccccccccccccccccccccccccccccc',0,1.5,'{
 "comparability_key": "13b3c582529c49c6802894d85be9406cfa8f7cf92016b8c7160956b0ed4e1b36",
 "task": "atoms-2d",
 "major": 1,
 "source": {
  "name": "atoms-2d",
  "version": "1.0.0",
  "size": "tiny",
  "split": "test",
  "sha256": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
  "n": 30,
  "n_clusters": 6
 },
 "entry": "third\u001b[31m\u202e",
 "trust": "scored",
 "artefact_sha256": "third\u001b[31m\u202e-0.5",
 "metrics": [
  {
   "name": "f1",
   "version": "1.0",
   "title": "F1",
   "unit": "",
   "direction": "max",
   "value": 0.5,
   "interval": {
    "method": "cluster-bca",
    "level": 0.95,
    "low": 0.45,
    "high": 0.55,
    "n_clusters": 6,
    "resamples": 99,
    "seed": 1
   }
  }
 ],
 "slices": [
  {
   "column": "material",
   "label": "au-001",
   "title": "material au-001",
   "n": 9,
   "n_clusters": 3,
   "support": "low",
   "value": 0.5,
   "interval": null,
   "sums": {
    "tp": 3.0
   }
  }
 ],
 "worst": {
  "column": "material",
  "label": "au-001",
  "title": "material au-001",
  "n": 9,
  "n_clusters": 3,
  "support": "low",
  "value": 0.5,
  "interval": null,
  "sums": {
   "tp": 3.0
  }
 },
 "gluing_residual": 0.0,
 "cost": {
  "wall_s_per_sample": 0.1
 },
 "provenance": {
  "version": "0.1.0",
  "python": "3.11",
  "numpy": "2.0",
  "git_commit": "cccccccccccccccccccccccccccccccccccccccc",
  "git_dirty": false,
  "seeds": {
   "bootstrap": 1
  },
  "wall_s": 1.5,
  "created": "2026-01-01T00:00:00+00:00"
 },
 "team": "",
 "schema": "stemtwin/report@1"
}');
CREATE TABLE scores (
	id INTEGER NOT NULL, 
	entry_id INTEGER NOT NULL, 
	metric VARCHAR NOT NULL, 
	metric_version VARCHAR NOT NULL, 
	direction VARCHAR NOT NULL, 
	unit VARCHAR NOT NULL, 
	"column" VARCHAR NOT NULL, 
	label VARCHAR NOT NULL, 
	n INTEGER NOT NULL, 
	value DOUBLE, 
	low DOUBLE, 
	high DOUBLE, 
	PRIMARY KEY (id), 
	FOREIGN KEY(entry_id) REFERENCES entries (id)
);
INSERT INTO "scores" VALUES(1,1,'f1','1.0','max','','','',30,0.9,0.85,9.50000000000000066613e-01);
INSERT INTO "scores" VALUES(2,1,'f1','1.0','max','','material','au-001',9,0.9,NULL,NULL);
INSERT INTO "scores" VALUES(3,2,'f1','1.0','max','','','',30,0.88,0.83,0.93);
INSERT INTO "scores" VALUES(4,2,'f1','1.0','max','','material','au-001',9,0.88,NULL,NULL);
INSERT INTO "scores" VALUES(5,3,'f1','1.0','max','','','',30,0.95,8.99999999999999911182e-01,1.0);
INSERT INTO "scores" VALUES(6,3,'f1','1.0','max','','material','au-001',9,0.95,NULL,NULL);
INSERT INTO "scores" VALUES(7,4,'f1','1.0','max','','','',30,0.5,0.45,0.55);
INSERT INTO "scores" VALUES(8,4,'f1','1.0','max','','material','au-001',9,0.5,NULL,NULL);
CREATE INDEX by_table ON entries (task, comparability_key);
CREATE TRIGGER entries_refuse_update BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'the board is append-only'); END;
CREATE TRIGGER entries_refuse_delete BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'the board is append-only'); END;
CREATE INDEX ix_scores_entry_id ON scores (entry_id);
CREATE TRIGGER scores_refuse_update BEFORE UPDATE ON scores BEGIN SELECT RAISE(ABORT, 'the board is append-only'); END;
CREATE TRIGGER scores_refuse_delete BEFORE DELETE ON scores BEGIN SELECT RAISE(ABORT, 'the board is append-only'); END;
COMMIT;
