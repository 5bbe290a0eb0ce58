//! Backups through the command line, as whoever runs a server makes and uses them.

use crate::support::{Server, folder, run, stderr, stdout, timelines};

#[tokio::test]
async fn a_backup_of_a_running_server_is_restored_with_every_timeline() {
    let (data, copies) = (folder(), folder());
    let path = data.path().to_str().unwrap();
    assert!(run(&["simulate", "--patients", "12", "--data", path]).status.success());
    let server = Server::start(data.path());
    let expected = timelines(&server.channel().await).await;
    for copy in ["copy", "copy.tar"] {
        let copy = copies.path().join(copy);
        let copy = copy.to_str().unwrap();
        let made = run(&["backup", copy, "--data", path]);
        assert!(made.status.success(), "{}", stderr(&made));
        assert!(stdout(&made).contains("all checked"), "{}", stdout(&made));
        let restored = folder();
        let restored = restored.path().join("data");
        let into = restored.to_str().unwrap();
        let done = run(&["restore", copy, "--data", into]);
        assert!(done.status.success(), "{}", stderr(&done));
        let again = run(&["restore", copy, "--data", into]);
        assert!(stderr(&again).contains("has a region already"), "{}", stderr(&again));
        let other = Server::start(&restored);
        assert_eq!(timelines(&other.channel().await).await, expected);
    }
}
