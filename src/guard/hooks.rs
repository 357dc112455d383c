//! Each hook of Pingora for a proxy with a guard around it: the guard's part, and the proxy's.
//!
//! Always true: every hook of the trait is passed on, and `upstream_peer` asks for the permit again.

use std::{any::Any, borrow::Cow, time::Duration};

use async_trait::async_trait;
use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use http::HeaderMap;
use pingora::{
    Error,
    cache::{
        CacheKey, CacheMeta, ForcedFreshness, HitHandler, PurgeAction, RespCacheable,
        key::{CacheHashKey as _, HashBinary},
    },
    http::{RequestHeader, ResponseHeader},
    modules::http::HttpModules,
    protocols::Digest,
    proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, PurgeStatus, RangeType, Session},
    upstreams::peer::HttpPeer,
};
use tokio::sync::mpsc;

use super::{Guard, Visit};
use crate::proxy::{
    Ctx,
    authenticate::Caller,
    denial::{Code, Denial},
    framing::Kind,
    record,
    tunnel::{self, Watched},
    visit::end_once,
};

/// A proxy with a [`Guard`] around it, to be served in its place.
#[derive(Debug)]
pub struct Guarded<P> {
    guard: Guard,
    proxy: P,
}

/// What a guarded request carries from hook to hook: the guard's own, and the proxy's.
#[derive(Debug)]
pub struct Contexts<C> {
    request: Box<Ctx>,
    tunnel: Option<Watched>,
    /// The body went over its limit.
    is_over: bool,
    inner: C,
}

impl<P> Guarded<P> {
    pub(super) const fn new(guard: Guard, proxy: P) -> Self {
        Self { guard, proxy }
    }

    /// The proxy.
    pub const fn inner(&self) -> &P {
        &self.proxy
    }
}

impl<C> Contexts<C> {
    /// Lets bytes pass, unless they are a tunnel's that must end.
    fn check_tunnel(&mut self) -> pingora::Result<()> {
        self.tunnel.as_mut().map_or(Ok(()), Watched::check)
    }

    fn tunnel_ended(&self) -> Option<&'static str> {
        self.tunnel.as_ref().and_then(Watched::ended)
    }
}

#[async_trait]
impl<P> ProxyHttp for Guarded<P>
where
    P: ProxyHttp + Send + Sync,
    P::CTX: Send + Sync,
{
    type CTX = Contexts<P::CTX>;

    fn new_ctx(&self) -> Self::CTX {
        Contexts {
            request: Box::new(Ctx::new()),
            tunnel: None,
            is_over: false,
            inner: self.proxy.new_ctx(),
        }
    }

    fn init_downstream_modules(&self, modules: &mut HttpModules) {
        self.proxy.init_downstream_modules(modules);
    }

    #[cfg(feature = "upstream_modules")]
    fn init_upstream_modules(&self, modules: &mut HttpModules) {
        self.proxy.init_upstream_modules(modules);
    }

    async fn early_request_filter(
        &self,
        session: &mut Session,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<()> {
        self.proxy
            .early_request_filter(session, &mut ctx.inner)
            .await
    }

    fn allow_spawning_subrequest(&self, session: &Session, ctx: &Self::CTX) -> bool {
        self.proxy.allow_spawning_subrequest(session, &ctx.inner)
    }

    /// Routes and judges. Only what was let through reaches the proxy's own filter.
    async fn request_filter(
        &self,
        session: &mut Session,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<bool> {
        let work = &self.guard.0;
        ctx.request.begin(session, work.state.load_full());
        if ctx.request.admit(session, &work.metrics).await? {
            return Ok(true);
        }
        if let Some(visit) = Visit::new(&ctx.request)? {
            session.req_header_mut().extensions_mut().insert(visit);
        }
        self.proxy.request_filter(session, &mut ctx.inner).await
    }

    fn request_cache_filter(
        &self,
        session: &mut Session,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<()> {
        self.proxy.request_cache_filter(session, &mut ctx.inner)
    }

    /// One key for each caller: the upstream is told who calls, and may answer each differently.
    fn cache_key_callback(
        &self,
        session: &Session,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<CacheKey> {
        let caller = ctx.request.permit()?.caller();
        let mut key = self.proxy.cache_key_callback(session, &mut ctx.inner)?;
        if let Some(caller) = caller {
            key.set_primary_bin_override(of_caller(&key.primary_bin(), caller));
        }
        Ok(key)
    }

    fn cache_miss(&self, session: &mut Session, ctx: &mut Self::CTX) {
        self.proxy.cache_miss(session, &mut ctx.inner);
    }

    async fn cache_hit_filter(
        &self,
        session: &mut Session,
        meta: &CacheMeta,
        hit_handler: &mut HitHandler,
        is_fresh: bool,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<Option<ForcedFreshness>> {
        self.proxy
            .cache_hit_filter(session, meta, hit_handler, is_fresh, &mut ctx.inner)
            .await
    }

    fn response_cache_filter(
        &self,
        session: &Session,
        response: &ResponseHeader,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<RespCacheable> {
        self.proxy
            .response_cache_filter(session, response, &mut ctx.inner)
    }

    fn cache_vary_filter(
        &self,
        meta: &CacheMeta,
        ctx: &mut Self::CTX,
        request: &RequestHeader,
    ) -> Option<HashBinary> {
        self.proxy.cache_vary_filter(meta, &mut ctx.inner, request)
    }

    fn cache_not_modified_filter(
        &self,
        session: &Session,
        response: &ResponseHeader,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<bool> {
        self.proxy
            .cache_not_modified_filter(session, response, &mut ctx.inner)
    }

    fn range_header_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Self::CTX,
    ) -> RangeType {
        self.proxy
            .range_header_filter(session, response, &mut ctx.inner)
    }

    fn should_serve_stale(
        &self,
        session: &mut Session,
        ctx: &mut Self::CTX,
        error: Option<&Error>,
    ) -> bool {
        self.proxy
            .should_serve_stale(session, &mut ctx.inner, error)
    }

    fn is_purge(&self, session: &Session, ctx: &Self::CTX) -> bool {
        self.proxy.is_purge(session, &ctx.inner)
    }

    fn purge_action(&self, session: &Session, ctx: &Self::CTX) -> PurgeAction {
        self.proxy.purge_action(session, &ctx.inner)
    }

    fn purge_response_filter(
        &self,
        session: &Session,
        ctx: &mut Self::CTX,
        status: PurgeStatus,
        response: &mut Cow<'static, ResponseHeader>,
    ) -> pingora::Result<()> {
        self.proxy
            .purge_response_filter(session, &mut ctx.inner, status, response)
    }

    async fn proxy_upstream_filter(
        &self,
        session: &mut Session,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<bool> {
        self.proxy
            .proxy_upstream_filter(session, &mut ctx.inner)
            .await
    }

    /// Refuses what was not let through, whatever the hooks before have done.
    async fn upstream_peer(
        &self,
        session: &mut Session,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<Box<HttpPeer>> {
        ctx.request.permit()?;
        ctx.request.begin_try();
        self.proxy.upstream_peer(session, &mut ctx.inner).await
    }

    async fn connected_to_upstream(
        &self,
        session: &mut Session,
        reused: bool,
        peer: &HttpPeer,
        fd: std::os::unix::io::RawFd,
        digest: Option<&Digest>,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<()> {
        self.proxy
            .connected_to_upstream(session, reused, peer, fd, digest, &mut ctx.inner)
            .await
    }

    fn fail_to_connect(
        &self,
        session: &mut Session,
        peer: &HttpPeer,
        ctx: &mut Self::CTX,
        error: Box<Error>,
    ) -> Box<Error> {
        self.proxy
            .fail_to_connect(session, peer, &mut ctx.inner, error)
    }

    /// Hides the credential and tells the upstream who calls; the proxy's own filter comes after.
    /// Runs again for each try.
    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream_request: &mut RequestHeader,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<()> {
        ctx.request.send_on(session, upstream_request, "")?;
        self.proxy
            .upstream_request_filter(session, upstream_request, &mut ctx.inner)
            .await?;
        ctx.request.sent(upstream_request);
        Ok(())
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<()> {
        ctx.check_tunnel()?;
        let measured = ctx.request.measure_body(session, body.as_ref());
        ctx.is_over |= measured.is_err();
        measured?;
        self.proxy
            .request_body_filter(session, body, end_of_stream, &mut ctx.inner)
            .await?;
        end_once(session, body, end_of_stream);
        Ok(())
    }

    #[cfg(feature = "upstream_modules")]
    async fn adjust_upstream_modules(
        &self,
        session: &mut Session,
        upstream_response: &ResponseHeader,
        end_of_stream: bool,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<()> {
        self.proxy
            .adjust_upstream_modules(session, upstream_response, end_of_stream, &mut ctx.inner)
            .await
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        upstream_response: &mut ResponseHeader,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<()> {
        self.proxy
            .upstream_response_filter(session, upstream_response, &mut ctx.inner)
            .await
    }

    fn upstream_response_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<Option<Duration>> {
        self.proxy
            .upstream_response_body_filter(session, body, end_of_stream, &mut ctx.inner)
    }

    fn upstream_response_trailer_filter(
        &self,
        session: &mut Session,
        upstream_trailers: &mut HeaderMap,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<()> {
        self.proxy
            .upstream_response_trailer_filter(session, upstream_trailers, &mut ctx.inner)
    }

    /// Passes the answer back, with a session cookie where one is due; the proxy's own filter comes
    /// before.
    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<()> {
        self.proxy
            .response_filter(session, response, &mut ctx.inner)
            .await?;
        let work = &self.guard.0;
        match ctx.request.receive(session, response)? {
            Kind::Interim => return Ok(()),
            Kind::Switch => {
                ctx.tunnel = Some(Watched::new(tunnel::lease(&work.state, &ctx.request)?));
            }
            Kind::Final => {}
        }
        ctx.request.pass_back(session, response, &work.metrics)
    }

    fn response_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<Option<Duration>> {
        ctx.check_tunnel()?;
        self.proxy
            .response_body_filter(session, body, end_of_stream, &mut ctx.inner)
    }

    async fn response_trailer_filter(
        &self,
        session: &mut Session,
        upstream_trailers: &mut HeaderMap,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<Option<Bytes>> {
        self.proxy
            .response_trailer_filter(session, upstream_trailers, &mut ctx.inner)
            .await
    }

    async fn custom_forwarding(
        &self,
        session: &mut Session,
        ctx: &mut Self::CTX,
        to_upstream: Option<mpsc::Sender<Bytes>>,
        to_downstream: mpsc::Sender<Bytes>,
    ) -> pingora::Result<()> {
        self.proxy
            .custom_forwarding(session, &mut ctx.inner, to_upstream, to_downstream)
            .await
    }

    async fn downstream_custom_message_proxy_filter(
        &self,
        session: &mut Session,
        message: Bytes,
        ctx: &mut Self::CTX,
        final_hop: bool,
    ) -> pingora::Result<Option<Bytes>> {
        self.proxy
            .downstream_custom_message_proxy_filter(session, message, &mut ctx.inner, final_hop)
            .await
    }

    async fn upstream_custom_message_proxy_filter(
        &self,
        session: &mut Session,
        message: Bytes,
        ctx: &mut Self::CTX,
        final_hop: bool,
    ) -> pingora::Result<Option<Bytes>> {
        self.proxy
            .upstream_custom_message_proxy_filter(session, message, &mut ctx.inner, final_hop)
            .await
    }

    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        ctx: &mut Self::CTX,
        reused: bool,
    ) -> Box<Error> {
        if ctx.tunnel_ended().is_some() {
            // Nobody's failure, and nothing that could be sent again.
            error.set_retry(false);
            return error;
        }
        self.proxy
            .error_while_proxy(peer, session, error, &mut ctx.inner, reused)
    }

    /// Answers for what the guard itself has ended; all else is the proxy's to answer.
    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        ctx: &mut Self::CTX,
    ) -> FailToProxy {
        let error_code = if let Some(reason) = ctx.tunnel_ended() {
            ctx.request.tunnel_ended(reason);
            0
        } else if ctx.is_over {
            let denial = Denial::new(Code::BodyTooLarge, "body");
            ctx.request.fail(session, denial).await;
            Code::BodyTooLarge.status()
        } else {
            return self
                .proxy
                .fail_to_proxy(session, error, &mut ctx.inner)
                .await;
        };
        FailToProxy {
            error_code,
            can_reuse_downstream: false,
        }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Self::CTX) {
        record::event(session, &ctx.request, &self.guard.0.metrics);
        self.proxy.logging(session, error, &mut ctx.inner).await;
    }

    fn persist_connection_context(
        &self,
        session: &Session,
        ctx: &Self::CTX,
    ) -> Option<Box<dyn Any + Send + Sync>> {
        self.proxy.persist_connection_context(session, &ctx.inner)
    }

    fn on_connection_reuse(
        &self,
        session: &mut Session,
        ctx: &mut Self::CTX,
        previous: Box<dyn Any + Send + Sync>,
    ) {
        self.proxy
            .on_connection_reuse(session, &mut ctx.inner, previous);
    }

    fn suppress_error_log(&self, session: &Session, ctx: &Self::CTX, error: &Error) -> bool {
        ctx.tunnel_ended().is_some() || self.proxy.suppress_error_log(session, &ctx.inner, error)
    }

    fn suppress_proxy_warn_log(
        &self,
        session: &Session,
        ctx: &Self::CTX,
        error: &Error,
        context: ProxyWarnLogContext,
    ) -> bool {
        self.proxy
            .suppress_proxy_warn_log(session, &ctx.inner, error, context)
    }

    fn request_summary(&self, session: &Session, ctx: &Self::CTX) -> String {
        self.proxy.request_summary(session, &ctx.inner)
    }
}

/// A key that is another one for each caller of whom the upstream is told something else.
fn of_caller(key: &HashBinary, caller: &Caller) -> HashBinary {
    let mut hash = Context::new(&SHA256);
    hash.update(key);
    for (name, value) in caller.identity() {
        // Lengths keep one pair from reading like another.
        for part in [name.as_str().as_bytes(), value.as_bytes()] {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }
    let mut mixed = HashBinary::default();
    let length = mixed.len();
    mixed.copy_from_slice(&hash.finish().as_ref()[..length]);
    mixed
}
