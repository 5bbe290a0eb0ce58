//! `tsunagi simulate` and `demo`: the same stories for the same seed, through the real desks.

use crate::support::{Server, folder, run, stderr, stdout, timelines};

fn simulate(server: &Server, arguments: &[&str]) -> std::process::Output {
    let mut all = vec!["simulate", "--server", &server.url];
    all.extend(arguments);
    run(&all)
}

#[tokio::test]
async fn the_same_seed_tells_the_same_stories() {
    let (one, other) = (folder(), folder());
    let (one, other) = (Server::start(one.path()), Server::start(other.path()));
    for server in [&one, &other] {
        let told = simulate(server, &["--patients", "30", "--days", "120"]);
        assert!(told.status.success(), "{}", stderr(&told));
    }
    let told = timelines(&one.channel().await).await;
    assert_eq!(told.len(), 32, "two of the thirty have a namesake");
    assert_eq!(told, timelines(&other.channel().await).await);
    // Told again, nothing is added.
    let again = simulate(&one, &["--patients", "30", "--days", "120"]);
    assert!(again.status.success(), "{}", stderr(&again));
    assert_eq!(told, timelines(&one.channel().await).await);
}

#[tokio::test]
async fn another_seed_tells_other_stories() {
    let data = folder();
    let server = Server::start(data.path());
    assert!(simulate(&server, &["--patients", "5"]).status.success());
    assert!(simulate(&server, &["--patients", "5", "--seed", "2"]).status.success());
    assert_eq!(timelines(&server.channel().await).await.len(), 10);
}

#[tokio::test]
async fn every_kind_of_story_is_told() {
    let data = folder();
    let server = Server::start(data.path());
    assert!(simulate(&server, &["--patients", "13", "--days", "200"]).status.success());
    let channel = server.channel().await;
    let mut told = String::new();
    for patient in timelines(&channel).await.into_keys() {
        told.push_str(&crate::support::sentences(&channel, &patient).await.join("\n"));
    }
    for words in [
        "admission planned for",
        "emergency visit at",
        "admission cancelled",
        "transfer declined",
        "offer accepted",
        "on leave",
        "pre-discharge conference held",
        "information at admission given to",
        "discharge information heard",
        "referred to",
        "attended",
        "measured UCLA",
        "social-prescribing case closed",
        "nursing visit",
        "died ",
        "another record of the same person was merged into this one",
        "proxy supporter",
        "taken to hospital in an emergency",
        "entered in error",
        "time corrected to",
        "alert [urgent]",
        "the merge with another record was taken back",
        "discharge cancelled",
        "content corrected",
        "goal met",
        "joined the care team",
        "care level",
    ] {
        assert!(told.contains(words), "{words}");
    }
}

#[test]
fn stories_that_end_in_the_future_are_not_begun() {
    let data = folder();
    let path = data.path().to_str().unwrap();
    let refused = run(&["simulate", "--start", "2290-01-01", "--data", path]);
    assert!(!refused.status.success());
    assert!(stderr(&refused).contains("in the future"), "{}", stderr(&refused));
}

#[test]
fn a_simulation_without_a_server_tells_to_the_folder() {
    let data = folder();
    let path = data.path().to_str().unwrap();
    let told = run(&["simulate", "--patients", "3", "--data", path]);
    assert!(stdout(&told).contains("about 3 people"), "{}", stderr(&told));
    let list = stdout(&run(&["patients", "--data", path]));
    assert_eq!(list.lines().count(), 3, "{list}");
}
