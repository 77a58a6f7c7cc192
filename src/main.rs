//! Arguments and dispatch.
fn main() {
    for crd in jct::crd::all() {
        print!("---\n{}", serde_yaml::to_string(&crd).unwrap_or_default());
    }
}
