//! The beat.

use litekeeper::schedule::ticks;

#[tokio::test]
async fn ticks_until_it_is_stopped() {
    let (ticks, mut receiver) = ticks::start().await.unwrap();
    assert_eq!(receiver.recv().await, Some(()));
    assert_eq!(receiver.recv().await, Some(()));
    ticks.stop().await;
    // One may wait in the channel; then it ends.
    while receiver.recv().await.is_some() {}
}
