//! x
use crate::harness::World;
#[tokio::test]
async fn a_good_token_passes() {
    let world = World::start().await;
    world.passes(world.flights().bearer(&world.token())).await;
}
