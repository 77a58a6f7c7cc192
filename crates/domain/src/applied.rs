//! The copy of an object that client-side `kubectl apply` keeps in an annotation, which has less room than the object.

/// The annotation with the copy.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The greatest size of all annotations of an object together, names and values, in bytes.
pub const MAX_ANNOTATIONS_BYTES: usize = 256 * 1024;
/// From this size on, in bytes, whoever applies it is warned: the next edit may be one too many.
const WARNED_BYTES: usize = 200 * 1024;

/// What whoever applies an object is to be told whose copy has so many bytes.
pub fn applied(bytes: usize) -> Option<String> {
    (bytes > WARNED_BYTES).then(|| {
        format!(
            "kubectl apply keeps a copy of the object in an annotation, here {} KiB, and all annotations together may have {} \
             KiB; `kubectl apply --server-side` keeps none",
            bytes.div_ceil(1024),
            MAX_ANNOTATIONS_BYTES / 1024
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_comes_near_the_limit_is_told_with_the_way_out() {
        assert_eq!(applied(WARNED_BYTES), None);
        let warning = applied(WARNED_BYTES + 1).unwrap();
        assert!(warning.contains("201 KiB") && warning.contains("--server-side"), "{warning}");
        assert!(warning.len() < 256, "longer warnings are cut: {}", warning.len());
    }
}
