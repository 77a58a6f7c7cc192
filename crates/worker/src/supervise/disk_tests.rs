//! What is counted, and what is done where that is not possible.

use nix::unistd::Pid;

use super::*;

fn used(dir: &tempfile::TempDir) -> u64 {
    used_bytes(&[dir.path().to_owned()], u64::MAX).unwrap()
}

#[test]
fn holes_and_links_count_nothing() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    fs::write(dir.path().join("sub/a"), vec![1; 1 << 20]).unwrap();
    fs::File::create(dir.path().join("sparse")).unwrap().set_len(1 << 40).unwrap();
    std::os::unix::fs::symlink("/", dir.path().join("root")).unwrap();
    let used = used(&dir);
    assert!(((1 << 20)..(2 << 20)).contains(&used), "{used}");
    let none = || Ok(Vec::new());
    assert_eq!(watch(&[dir.path().to_owned()], 1 << 19, none, || true), Some(Seen::TooMuch));
    assert_eq!(watch(&[dir.path().to_owned()], 1 << 30, none, || false), None);
}

#[test]
fn empty_files_and_closed_folders_count() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..100 {
        fs::write(dir.path().join(n.to_string()), "").unwrap();
    }
    assert_eq!(used(&dir), 100 * ENTRY_BYTES);
    let closed = dir.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::write(closed.join("a"), vec![1; 1 << 20]).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o300)).unwrap();
    assert!(used(&dir) > 1 << 20);
}

#[test]
fn what_lies_too_deep_is_too_much() {
    let dir = tempfile::tempdir().unwrap();
    let name = "d".repeat(200);
    let mut folder =
        nix::dir::Dir::open(dir.path(), nix::fcntl::OFlag::O_DIRECTORY, nix::sys::stat::Mode::empty()).unwrap();
    for _ in 0..25 {
        nix::sys::stat::mkdirat(&folder, name.as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
        folder = nix::dir::Dir::openat(
            &folder,
            name.as_str(),
            nix::fcntl::OFlag::O_DIRECTORY,
            nix::sys::stat::Mode::empty(),
        )
        .unwrap();
    }
    assert_eq!(used(&dir), u64::MAX);
}

#[test]
fn files_without_names_count_once_for_all_that_hold_them() {
    let dir = tempfile::tempdir().unwrap();
    let folders = [dir.path().to_owned()];
    let path = dir.path().join("a");
    fs::write(&path, vec![1; 1 << 20]).unwrap();
    let held = [fs::File::open(&path).unwrap(), fs::File::open(&path).unwrap()];
    let own = [Pid::this()];
    assert_eq!(nameless_bytes(&folders, &own).unwrap(), 0);
    fs::remove_file(path).unwrap();
    assert_eq!((used(&dir), nameless_bytes(&folders, &own).unwrap()), (0, 1 << 20));
    drop(held);
    assert_eq!(nameless_bytes(&folders, &own).unwrap(), 0);
}

#[test]
fn a_link_in_the_place_of_a_folder_leads_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let (watched, others) = (dir.path().join("watched"), dir.path().join("others"));
    fs::create_dir_all(watched.join("sub/deep")).unwrap();
    fs::create_dir_all(others.join("deep")).unwrap();
    fs::write(others.join("deep/large"), vec![1; 1 << 20]).unwrap();
    fs::set_permissions(others.join("deep"), fs::Permissions::from_mode(0o500)).unwrap();
    let root = open(&watched, OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty()).unwrap();
    let deep = Path::new("sub/deep");
    assert!(list(&root, deep, u64::MAX).is_ok(), "what was listed a moment ago");
    fs::rename(watched.join("sub"), watched.join("moved")).unwrap();
    std::os::unix::fs::symlink(&others, watched.join("sub")).unwrap();
    // Neither is it counted nor opened: by its path it would be.
    assert!(fs::read_dir(watched.join(deep)).unwrap().count() == 1);
    assert!(list(&root, deep, u64::MAX).is_err_and(is_no_folder));
    assert!(reopen(&root, deep).is_err());
    let mode = fs::metadata(others.join("deep")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o500);
    reopen(&root, Path::new("moved/deep")).unwrap();
}

#[test]
fn closed_folders_are_opened_by_what_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let closed = dir.path().join("a/b");
    fs::create_dir_all(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o0)).unwrap();
    fs::set_permissions(dir.path().join("a"), fs::Permissions::from_mode(0o0)).unwrap();
    let root = open(dir.path(), OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty()).unwrap();
    reopen(&root, Path::new("a/b")).unwrap();
    assert_eq!(fs::metadata(&closed).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn who_cannot_look_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let folders = [dir.path().to_owned()];
    let blind = || Err(io::Error::from_raw_os_error(Errno::EMFILE as i32));
    let asked = std::cell::Cell::new(0);
    let for_a_while = || asked.replace(asked.get() + 1) < 100;
    let Some(Seen::Nothing(why)) = watch(&folders, 1 << 30, blind, for_a_while) else { panic!("it went on") };
    assert!(why.contains("Too many open files"), "{why}");
    // Once is no trouble, when the next look sees.
    let looks = std::cell::Cell::new(0);
    let once = || {
        looks.set(looks.get() + 1);
        if looks.get() == 1 { blind() } else { Ok(Vec::new()) }
    };
    assert_eq!(watch(&folders, 1 << 30, once, || looks.get() < 2), None);
}

#[test]
fn paths_without_end_are_too_much() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(walk(&dir.path().join("none"), 1).unwrap(), 0, "what is not there takes nothing");
    for n in 0..100 {
        fs::create_dir(dir.path().join(n.to_string())).unwrap();
    }
    assert_eq!(walk(dir.path(), 50 * ENTRY_BYTES).unwrap(), u64::MAX);
    assert_eq!(walk(dir.path(), 100 * ENTRY_BYTES).unwrap(), 100 * ENTRY_BYTES);
}
