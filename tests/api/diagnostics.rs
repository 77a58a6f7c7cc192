use serde_json::{Value, json};

use crate::world::{ADA, ROOT, World};

fn check<'a>(body: &'a Value, name: &str) -> &'a Value {
    let checks = body["checks"].as_array().unwrap();
    checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("{name}: {checks:?}"))
}

#[tokio::test]
async fn who_may_ask_is_told_how_it_is_and_what_to_do() {
    let world = World::new().await;
    assert_eq!(world.get(ADA, "/diagnostics").await.status, 403);
    let well = world.get(ROOT, "/diagnostics").await;
    assert_eq!(well.status, 200, "{}", well.text);
    for name in
        ["database", "trace volume", "webhook configurations", "clock", "signing keys", "audit log", "executors"]
    {
        assert_eq!(check(&well.body, name)["status"], json!("ok"), "{}", well.text);
    }
    let locked = world.lock_record().await;
    std::fs::remove_dir_all(world.traces.root()).unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(2_100)).await;
    let ill = world.get(ROOT, "/diagnostics").await;
    for name in ["database", "trace volume"] {
        let found = check(&ill.body, name);
        assert_eq!(found["status"], json!("failed"), "{}", ill.text);
        assert!(found["advice"].as_str().unwrap().len() > 10, "{found}");
    }
    drop(locked);
}
