use super::*;

fn sample() -> (SetKey, Manifest) {
    let stamp: Stamp = "20261123T031500Z".parse().expect("a stamp");
    let label: Label = "pro".parse().expect("a label");
    let set = SetKey::new(Area::Pg, "acme.planapulse.app", stamp, label, SetNonce(0x1a2b_3c4d));
    let key = set.object(&set.file_name(".dump.zst", 0));
    let digest = "ab".repeat(32);
    let volume = Volume {
        key,
        bytes: 7,
        sha256: digest.clone(),
        etag: Some("0123".to_owned()),
        parts: 1,
        part_bytes: 7,
        version: None,
        verified: Verified::EtagMd5,
    };
    let made_by = MadeBy {
        job: "pg-dump-to-sos".to_owned(),
        version: "0.1.0".to_owned(),
        host: "pg01".to_owned(),
        run_id: "r".to_owned(),
        started_at: stamp.instant(),
        finished_at: stamp.instant(),
    };
    let payload = Payload {
        format: "postgresql-custom".to_owned(),
        compression: "zstd".to_owned(),
        content_sha256: digest.clone(),
        content_bytes: 20,
        stored_sha256: digest,
        stored_bytes: 7,
        volumes: vec![volume],
    };
    let manifest = Manifest {
        class: Some("tenant".to_owned()),
        tier: Some("pro".to_owned()),
        ..Manifest::new(&set, "acme.planapulse.app", made_by, payload)
    };
    (set, manifest)
}

#[test]
fn what_is_written_is_read() {
    let (set, manifest) = sample();
    assert_eq!(Manifest::parse(&manifest.to_bytes(), &set).expect("sound"), manifest);
}

#[test]
fn unknown_fields_are_ignored_and_newer_schemas_refused() {
    let (set, manifest) = sample();
    let mut json: serde_json::Value = serde_json::from_slice(&manifest.to_bytes()).expect("JSON");
    json["colour"] = "blue".into();
    assert!(Manifest::parse(json.to_string().as_bytes(), &set).is_ok());
    json["schema"] = 2.into();
    json["payload"] = "something else".into();
    let error = Manifest::parse(json.to_string().as_bytes(), &set).expect_err("newer");
    assert!(matches!(error, ManifestError::NewerSchema(2)), "{error}");
}

#[test]
fn lies_are_found() {
    let (set, sound) = sample();
    type Lie = (&'static str, fn(&mut Manifest));
    let lies: [Lie; 7] = [
        ("describes", |m| m.name = "other".to_owned()),
        ("not a set's id", |m| m.id = "XYZ".to_owned()),
        ("no object", |m| m.payload.volumes.clear()),
        ("add up", |m| m.payload.stored_bytes = 8),
        ("own set", |m| m.payload.volumes[0].key = "pg/other/x".to_owned()),
        ("own set", |m| m.payload.volumes[0].key.push_str("/../../x")),
        ("SHA-256", |m| m.payload.content_sha256 = "00".to_owned()),
    ];
    for (expected, lie) in lies {
        let mut manifest = sound.clone();
        lie(&mut manifest);
        let error = Manifest::parse(&manifest.to_bytes(), &set).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert!(Manifest::parse(b"", &set).is_err());
}

fn file_store() -> FileStoreFacts {
    let mut damaged = PathList::default();
    damaged.add(b"ab/ab\xff", Some("its SHA-1 is cd".to_owned()));
    let facts = FileStoreFacts::new(FileStoreLayout::Odoo, "tenants", b"/var/lib/odoo/filestore/acme.planapulse.app");
    FileStoreFacts { files: 3, directories: 2, bytes: 30, proven: 2, damaged, named_by_database: Some(3), ..facts }
}

#[test]
fn a_file_stores_facts_are_written_and_read() {
    let (set, sound) = sample();
    let manifest = Manifest { filestore: Some(file_store()), ..sound };
    assert_eq!(Manifest::parse(&manifest.to_bytes(), &set).expect("sound"), manifest);
    type Lie = fn(&mut FileStoreFacts);
    let lies: [Lie; 4] = [
        |facts| facts.proven = 3,
        |facts| facts.proven = u64::MAX,
        |facts| facts.damaged.total = 0,
        |facts| facts.damaged.listed[0].path = "a\nb".to_owned(),
    ];
    for lie in lies {
        let mut facts = file_store();
        lie(&mut facts);
        let manifest = Manifest { filestore: Some(facts), ..manifest.clone() };
        assert!(matches!(Manifest::parse(&manifest.to_bytes(), &set), Err(ManifestError::Contradiction(_))));
    }
}

#[test]
fn a_list_of_paths_is_bounded_and_its_count_is_not() {
    let mut list = PathList::default();
    (0..MOST_LISTED + 5).for_each(|_| list.add(b"x", None));
    assert_eq!((list.total, list.listed.len()), (MOST_LISTED as u64 + 5, MOST_LISTED));
}
