"""Envoy's messages as data: the fields we use of each, with their numbers and types.

One message a line: ``name: field=number:type …``. A type is a scalar (``string``, ``uint32``, ``enum`` …) or a message, after
``*`` for repeated, after ``%`` for a map with string keys. Names begin with a short word of ``PREFIXES``, or are full.
``encode.py`` is the one engine that reads this. Source: the protobuf definitions of Envoy's API v3, ``google.rpc.Status``.
"""

from __future__ import annotations

PREFIXES = {
    "auth": "envoy.service.auth.v3",
    "cluster": "envoy.config.cluster.v3",
    "core": "envoy.config.core.v3",
    "discovery": "envoy.service.discovery.v3",
    "endpoint": "envoy.config.endpoint.v3",
    "ext_proc": "envoy.service.ext_proc.v3",
    "hcm": "envoy.extensions.filters.network.http_connection_manager.v3",
    "http": "envoy.extensions.filters.http",
    "listener": "envoy.config.listener.v3",
    "matcher": "envoy.type.matcher.v3",
    "pb": "google.protobuf",
    "route": "envoy.config.route.v3",
    "tls": "envoy.extensions.transport_sockets.tls.v3",
}

TABLE = """
envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation:
    mutations=1:*envoy.config.common.mutation_rules.v3.HeaderMutation
envoy.config.common.mutation_rules.v3.HeaderMutation: remove=1:string
    append=2:core.HeaderValueOption
auth.AttributeContext: request=4:auth.AttributeContext.Request source=1:auth.AttributeContext.Peer
auth.AttributeContext.HttpRequest: id=1:string method=2:string headers=3:%string path=4:string host=5:string
    scheme=6:string query=7:string body=11:string raw_body=12:bytes
auth.AttributeContext.Peer: address=1:core.Address certificate=5:string
auth.AttributeContext.Request: http=2:auth.AttributeContext.HttpRequest
auth.CheckRequest: attributes=1:auth.AttributeContext
auth.CheckResponse: status=1:google.rpc.Status denied_response=2:auth.DeniedHttpResponse
    ok_response=3:auth.OkHttpResponse
auth.DeniedHttpResponse: status=1:envoy.type.v3.HttpStatus headers=2:*core.HeaderValueOption body=3:string
auth.OkHttpResponse: headers=2:*core.HeaderValueOption headers_to_remove=5:*string
    response_headers_to_add=6:*core.HeaderValueOption
cluster.CircuitBreakers: thresholds=1:*cluster.CircuitBreakers.Thresholds
cluster.CircuitBreakers.Thresholds: priority=1:enum max_connections=2:pb.UInt32Value
    max_pending_requests=3:pb.UInt32Value max_requests=4:pb.UInt32Value max_retries=5:pb.UInt32Value
    retry_budget=8:cluster.CircuitBreakers.Thresholds.RetryBudget
cluster.CircuitBreakers.Thresholds.RetryBudget: budget_percent=1:envoy.type.v3.Percent
    min_retry_concurrency=2:pb.UInt32Value
cluster.Cluster: name=1:string type=2:enum eds_cluster_config=3:cluster.Cluster.EdsClusterConfig
    connect_timeout=4:pb.Duration load_assignment=33:endpoint.ClusterLoadAssignment
    typed_extension_protocol_options=36:%pb.Any ignore_health_on_host_removal=32:bool
    circuit_breakers=10:cluster.CircuitBreakers lb_policy=6:enum transport_socket=24:core.TransportSocket
    common_lb_config=27:cluster.Cluster.CommonLbConfig dns_lookup_family=17:enum respect_dns_ttl=39:bool
    dns_refresh_rate=16:pb.Duration upstream_connection_options=30:cluster.UpstreamConnectionOptions
    outlier_detection=19:cluster.OutlierDetection health_checks=8:*core.HealthCheck alt_stat_name=28:string
cluster.Cluster.CommonLbConfig: healthy_panic_threshold=1:envoy.type.v3.Percent
    close_connections_on_host_set_change=6:bool
cluster.Cluster.EdsClusterConfig: eds_config=1:core.ConfigSource service_name=2:string
cluster.OutlierDetection: consecutive_5xx=1:pb.UInt32Value interval=2:pb.Duration base_ejection_time=3:pb.Duration
    max_ejection_percent=4:pb.UInt32Value
cluster.UpstreamConnectionOptions: tcp_keepalive=1:core.TcpKeepalive
core.Address: socket_address=1:core.SocketAddress pipe=2:core.Pipe
core.AggregatedConfigSource:
core.AsyncDataSource: local=1:core.DataSource
core.BindConfig: source_address=1:core.SocketAddress
core.CidrRange: address_prefix=1:string prefix_len=2:pb.UInt32Value
core.ConfigSource: ads=3:core.AggregatedConfigSource initial_fetch_timeout=4:pb.Duration resource_api_version=6:enum
core.DataSource: filename=1:string inline_string=3:string inline_bytes=2:bytes
core.ExtensionConfigSource: config_source=1:core.ConfigSource type_urls=4:*string
core.GrpcService: envoy_grpc=1:core.GrpcService.EnvoyGrpc timeout=3:pb.Duration
core.GrpcService.EnvoyGrpc: cluster_name=1:string authority=2:string
core.HeaderMap: headers=1:*core.HeaderValue
core.HeaderValue: key=1:string value=2:string raw_value=3:bytes
core.HeaderValueOption: header=1:core.HeaderValue append=2:pb.BoolValue append_action=3:enum
core.HealthCheck: timeout=1:pb.Duration interval=2:pb.Duration unhealthy_threshold=4:pb.UInt32Value
    healthy_threshold=5:pb.UInt32Value
core.Http1ProtocolOptions:
core.Http2ProtocolOptions: max_concurrent_streams=2:pb.UInt32Value initial_stream_window_size=3:pb.UInt32Value
    initial_connection_window_size=4:pb.UInt32Value allow_connect=5:bool
core.Http3ProtocolOptions: quic_protocol_options=1:core.QuicProtocolOptions
core.HttpProtocolOptions: idle_timeout=1:pb.Duration max_connection_duration=3:pb.Duration
    max_requests_per_connection=6:pb.UInt32Value headers_with_underscores_action=5:enum
    max_headers_count=2:pb.UInt32Value
core.HttpService: http_uri=1:core.HttpUri request_headers_to_add=2:*core.HeaderValueOption
core.HttpUri: uri=1:string cluster=2:string timeout=3:pb.Duration
core.Locality: region=1:string zone=2:string sub_zone=3:string
core.Metadata: filter_metadata=1:%pb.Struct
core.Pipe: path=1:string mode=2:uint32
core.QuicProtocolOptions: max_concurrent_streams=1:pb.UInt32Value initial_stream_window_size=2:pb.UInt32Value
    initial_connection_window_size=3:pb.UInt32Value
core.RuntimeFractionalPercent: default_value=1:envoy.type.v3.FractionalPercent runtime_key=2:string
core.RuntimeUInt32: default_value=2:uint32 runtime_key=3:string
core.SocketAddress: address=2:string port_value=3:uint32 protocol=1:enum network_namespace_filepath=7:string
core.SubstitutionFormatString: text_format_source=5:core.DataSource json_format=2:pb.Struct omit_empty_values=3:bool
core.TcpKeepalive: keepalive_time=2:pb.UInt32Value
core.TransportSocket: name=1:string typed_config=3:pb.Any
core.TypedExtensionConfig: name=1:string typed_config=2:pb.Any
core.UdpSocketConfig: prefer_gro=2:pb.BoolValue
discovery.DeltaDiscoveryRequest: type_url=2:string resource_names_subscribe=3:*string
    resource_names_unsubscribe=4:*string response_nonce=6:string error_detail=7:google.rpc.Status
    initial_resource_versions=5:%string
discovery.DeltaDiscoveryResponse: system_version_info=1:string resources=2:*discovery.Resource type_url=4:string
    removed_resources=6:*string nonce=5:string
discovery.Resource: name=3:string version=1:string resource=2:pb.Any
endpoint.ClusterLoadAssignment: cluster_name=1:string endpoints=2:*endpoint.LocalityLbEndpoints
endpoint.Endpoint: address=1:core.Address hostname=3:string
endpoint.LbEndpoint: endpoint=1:endpoint.Endpoint health_status=2:enum load_balancing_weight=4:pb.UInt32Value
endpoint.LocalityLbEndpoints: lb_endpoints=2:*endpoint.LbEndpoint load_balancing_weight=3:pb.UInt32Value
    priority=5:uint32 locality=1:core.Locality
envoy.config.accesslog.v3.AccessLog: name=1:string filter=2:envoy.config.accesslog.v3.AccessLogFilter
    typed_config=4:pb.Any
envoy.config.accesslog.v3.AccessLogFilter: status_code_filter=1:envoy.config.accesslog.v3.StatusCodeFilter
envoy.config.accesslog.v3.ComparisonFilter: op=1:enum value=2:core.RuntimeUInt32
envoy.config.accesslog.v3.StatusCodeFilter: comparison=1:envoy.config.accesslog.v3.ComparisonFilter
envoy.config.common.mutation_rules.v3.HeaderMutationRules: allow_all_routing=1:pb.BoolValue
envoy.config.rbac.v3.Permission: any=3:bool
envoy.config.rbac.v3.Policy: permissions=1:*envoy.config.rbac.v3.Permission principals=2:*envoy.config.rbac.v3.Principal
envoy.config.rbac.v3.Principal: and_ids=1:envoy.config.rbac.v3.Principal.Set
    or_ids=2:envoy.config.rbac.v3.Principal.Set metadata=7:matcher.MetadataMatcher any=3:bool
    header=6:route.HeaderMatcher not_id=8:envoy.config.rbac.v3.Principal direct_remote_ip=10:core.CidrRange
    remote_ip=11:core.CidrRange
envoy.config.rbac.v3.Principal.Set: ids=1:*envoy.config.rbac.v3.Principal
envoy.config.rbac.v3.RBAC: action=1:enum policies=2:%envoy.config.rbac.v3.Policy
envoy.config.ratelimit.v3.RateLimitServiceConfig: grpc_service=2:core.GrpcService transport_api_version=4:enum
envoy.service.ratelimit.v3.RateLimitRequest: domain=1:string
    descriptors=2:*envoy.extensions.common.ratelimit.v3.RateLimitDescriptor
envoy.service.ratelimit.v3.RateLimitResponse: overall_code=1:enum
    statuses=2:*envoy.service.ratelimit.v3.RateLimitResponse.DescriptorStatus
    response_headers_to_add=3:*core.HeaderValue
envoy.service.ratelimit.v3.RateLimitResponse.DescriptorStatus: code=1:enum
envoy.extensions.common.ratelimit.v3.RateLimitDescriptor:
    entries=1:*envoy.extensions.common.ratelimit.v3.RateLimitDescriptor.Entry
envoy.config.trace.v3.OpenTelemetryConfig: grpc_service=1:core.GrpcService http_service=3:core.HttpService
    service_name=2:string
envoy.config.trace.v3.Tracing.Http: name=1:string typed_config=3:pb.Any
envoy.extensions.access_loggers.file.v3.FileAccessLog: path=1:string log_format=5:core.SubstitutionFormatString
envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig: grpc_service=9:core.GrpcService
    resource_attributes=4:opentelemetry.proto.common.v1.KeyValueList body=2:opentelemetry.proto.common.v1.AnyValue
    attributes=3:opentelemetry.proto.common.v1.KeyValueList log_name=10:string
envoy.extensions.access_loggers.stream.v3.StdoutAccessLog: log_format=1:core.SubstitutionFormatString
envoy.extensions.common.async_files.v3.AsyncFileManagerConfig: id=1:string
    thread_pool=2:envoy.extensions.common.async_files.v3.AsyncFileManagerConfig.ThreadPool
envoy.extensions.common.async_files.v3.AsyncFileManagerConfig.ThreadPool: thread_count=1:uint32
envoy.extensions.common.ratelimit.v3.LocalRateLimitDescriptor:
    entries=1:*envoy.extensions.common.ratelimit.v3.RateLimitDescriptor.Entry token_bucket=2:envoy.type.v3.TokenBucket
envoy.extensions.common.ratelimit.v3.RateLimitDescriptor.Entry: key=1:string value=2:string
envoy.extensions.common.matching.v3.ExtensionWithMatcher: xds_matcher=3:xds.type.matcher.v3.Matcher
    extension_config=2:core.TypedExtensionConfig
envoy.extensions.compression.brotli.compressor.v3.Brotli:
envoy.extensions.compression.gzip.compressor.v3.Gzip:
envoy.extensions.compression.zstd.compressor.v3.Zstd:
envoy.extensions.dynamic_modules.v3.DynamicModuleConfig: name=1:string do_not_close=3:bool module=6:core.AsyncDataSource
envoy.extensions.filters.common.fault.v3.FaultDelay: fixed_delay=3:pb.Duration
    percentage=4:envoy.type.v3.FractionalPercent
envoy.extensions.filters.common.matcher.action.v3.SkipFilter:
envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector:
envoy.data.accesslog.v3.AccessLogCommon: downstream_remote_address=2:core.Address
    downstream_local_address=3:core.Address start_time=5:pb.Timestamp
envoy.data.accesslog.v3.TCPAccessLogEntry: common_properties=1:envoy.data.accesslog.v3.AccessLogCommon
envoy.service.accesslog.v3.StreamAccessLogsMessage:
    tcp_logs=3:envoy.service.accesslog.v3.StreamAccessLogsMessage.TCPAccessLogEntries
envoy.service.accesslog.v3.StreamAccessLogsMessage.TCPAccessLogEntries:
    log_entry=1:*envoy.data.accesslog.v3.TCPAccessLogEntry
envoy.extensions.access_loggers.grpc.v3.CommonGrpcAccessLogConfig: log_name=1:string grpc_service=2:core.GrpcService
    buffer_size_bytes=4:pb.UInt32Value transport_api_version=6:enum
envoy.extensions.access_loggers.grpc.v3.TcpGrpcAccessLogConfig:
    common_config=1:envoy.extensions.access_loggers.grpc.v3.CommonGrpcAccessLogConfig
envoy.extensions.filters.network.ratelimit.v3.RateLimit: stat_prefix=1:string domain=2:string
    descriptors=3:*envoy.extensions.common.ratelimit.v3.RateLimitDescriptor timeout=4:pb.Duration
    failure_mode_deny=5:bool rate_limit_service=6:envoy.config.ratelimit.v3.RateLimitServiceConfig
envoy.extensions.filters.network.rbac.v3.RBAC: rules=1:envoy.config.rbac.v3.RBAC stat_prefix=3:string
envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy: stat_prefix=1:string cluster=2:string
    weighted_clusters=10:envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster
    idle_timeout=8:pb.Duration access_log=5:*envoy.config.accesslog.v3.AccessLog
envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster:
    clusters=1:*envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster.ClusterWeight
envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster.ClusterWeight: name=1:string weight=2:uint32
envoy.extensions.filters.udp.udp_proxy.v3.Route: cluster=1:string
envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig: stat_prefix=1:string matcher=9:xds.type.matcher.v3.Matcher
    idle_timeout=3:pb.Duration use_per_packet_load_balancing=7:bool access_log=8:*envoy.config.accesslog.v3.AccessLog
envoy.extensions.http.stateful_session.cookie.v3.CookieBasedSessionState: cookie=1:envoy.type.http.v3.Cookie
envoy.extensions.http.stateful_session.header.v3.HeaderBasedSessionState: name=1:string
envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate:
envoy.extensions.transport_sockets.quic.v3.QuicDownstreamTransport: downstream_tls_context=1:tls.DownstreamTlsContext
    enable_early_data=2:pb.BoolValue
envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
    explicit_http_config=3:envoy.extensions.upstreams.http.v3.HttpProtocolOptions.ExplicitHttpConfig
    auto_config=5:envoy.extensions.upstreams.http.v3.HttpProtocolOptions.AutoHttpConfig
    common_http_protocol_options=1:core.HttpProtocolOptions retry_policy=11:route.RetryPolicy
    use_downstream_protocol_config=4:envoy.extensions.upstreams.http.v3.HttpProtocolOptions.UseDownstreamHttpConfig
envoy.extensions.upstreams.http.v3.HttpProtocolOptions.AutoHttpConfig:
    http_protocol_options=1:core.Http1ProtocolOptions http2_protocol_options=2:core.Http2ProtocolOptions
envoy.extensions.upstreams.http.v3.HttpProtocolOptions.ExplicitHttpConfig:
    http_protocol_options=1:core.Http1ProtocolOptions http2_protocol_options=2:core.Http2ProtocolOptions
envoy.extensions.upstreams.http.v3.HttpProtocolOptions.UseDownstreamHttpConfig:
    http_protocol_options=1:core.Http1ProtocolOptions http2_protocol_options=2:core.Http2ProtocolOptions
envoy.type.http.v3.Cookie: name=1:string ttl=2:pb.Duration path=3:string
    attributes=4:*envoy.type.http.v3.CookieAttribute
envoy.type.http.v3.CookieAttribute: name=1:string value=2:string
envoy.type.metadata.v3.MetadataKey: key=1:string path=2:*envoy.type.metadata.v3.MetadataKey.PathSegment
envoy.type.metadata.v3.MetadataKey.PathSegment: key=1:string
envoy.type.tracing.v3.CustomTag: tag=1:string literal=2:envoy.type.tracing.v3.CustomTag.Literal value=6:string
envoy.type.tracing.v3.CustomTag.Literal: value=1:string
envoy.type.v3.FractionalPercent: numerator=1:uint32 denominator=2:enum
envoy.type.v3.HttpStatus: code=1:enum
envoy.type.v3.Percent: value=1:double
envoy.type.v3.TokenBucket: max_tokens=1:uint32 tokens_per_fill=2:pb.UInt32Value fill_interval=3:pb.Duration
envoy.extensions.wasm.v3.PluginConfig: name=1:string root_id=2:string vm_config=3:envoy.extensions.wasm.v3.VmConfig
    configuration=4:pb.Any failure_policy=7:enum
envoy.extensions.wasm.v3.VmConfig: vm_id=1:string runtime=2:string code=3:core.AsyncDataSource
ext_proc.BodyMutation: body=1:bytes clear_body=2:bool streamed_response=3:ext_proc.StreamedBodyResponse
ext_proc.BodyResponse: response=1:ext_proc.CommonResponse
ext_proc.CommonResponse: status=1:enum header_mutation=2:ext_proc.HeaderMutation
    body_mutation=3:ext_proc.BodyMutation clear_route_cache=5:bool
ext_proc.HeaderMutation: set_headers=1:*core.HeaderValueOption remove_headers=2:*string
ext_proc.HeadersResponse: response=1:ext_proc.CommonResponse
ext_proc.HttpBody: body=1:bytes end_of_stream=2:bool
ext_proc.HttpHeaders: headers=1:core.HeaderMap end_of_stream=3:bool
ext_proc.HttpTrailers: trailers=1:core.HeaderMap
ext_proc.ImmediateResponse: status=1:envoy.type.v3.HttpStatus headers=2:ext_proc.HeaderMutation body=3:bytes
    details=5:string
ext_proc.ProcessingRequest: request_headers=2:ext_proc.HttpHeaders response_headers=3:ext_proc.HttpHeaders
    request_body=4:ext_proc.HttpBody response_body=5:ext_proc.HttpBody request_trailers=6:ext_proc.HttpTrailers
    response_trailers=7:ext_proc.HttpTrailers attributes=9:%pb.Struct protocol_config=11:ext_proc.ProtocolConfiguration
ext_proc.ProcessingResponse: request_headers=1:ext_proc.HeadersResponse response_headers=2:ext_proc.HeadersResponse
    request_body=3:ext_proc.BodyResponse response_body=4:ext_proc.BodyResponse
    request_trailers=5:ext_proc.TrailersResponse response_trailers=6:ext_proc.TrailersResponse
    immediate_response=7:ext_proc.ImmediateResponse
    streamed_immediate_response=11:ext_proc.StreamedImmediateResponse
ext_proc.ProtocolConfiguration: request_body_mode=1:enum response_body_mode=2:enum
ext_proc.StreamedBodyResponse: body=1:bytes end_of_stream=2:bool
ext_proc.StreamedImmediateResponse: headers_response=1:ext_proc.HttpHeaders
    body_response=2:ext_proc.StreamedBodyResponse trailers_response=3:core.HeaderMap
ext_proc.TrailersResponse: header_mutation=1:ext_proc.HeaderMutation
google.rpc.Status: code=1:int32 message=2:string
hcm.HttpConnectionManager: codec_type=1:enum stat_prefix=2:string rds=3:hcm.Rds
    route_config=4:route.RouteConfiguration http_filters=5:*hcm.HttpFilter use_remote_address=14:pb.BoolValue
    upgrade_configs=23:*hcm.HttpConnectionManager.UpgradeConfig strip_any_host_port=42:bool
    normalize_path=30:pb.BoolValue stream_idle_timeout=24:pb.Duration server_header_transformation=34:enum
    access_log=13:*envoy.config.accesslog.v3.AccessLog tracing=7:hcm.HttpConnectionManager.Tracing
    http3_protocol_options=44:core.Http3ProtocolOptions request_headers_timeout=41:pb.Duration
    path_with_escaped_slashes_action=45:enum merge_slashes=33:bool forward_client_cert_details=16:enum
    set_current_client_cert_details=17:hcm.HttpConnectionManager.SetCurrentClientCertDetails
    common_http_protocol_options=35:core.HttpProtocolOptions http2_protocol_options=9:core.Http2ProtocolOptions
    local_reply_config=38:hcm.LocalReplyConfig xff_num_trusted_hops=19:uint32 scoped_routes=31:hcm.ScopedRoutes
    max_request_headers_kb=29:pb.UInt32Value strip_matching_host_port=39:bool generate_request_id=15:pb.BoolValue
    preserve_external_request_id=32:bool request_timeout=28:pb.Duration stream_flush_timeout=59:pb.Duration
    drain_timeout=12:pb.Duration http_protocol_options=8:core.Http1ProtocolOptions
    early_header_mutation_extensions=52:*core.TypedExtensionConfig
    internal_address_config=25:hcm.HttpConnectionManager.InternalAddressConfig
hcm.HttpConnectionManager.InternalAddressConfig: unix_sockets=1:bool cidr_ranges=2:*core.CidrRange
hcm.HttpConnectionManager.SetCurrentClientCertDetails: subject=1:pb.BoolValue cert=3:bool chain=6:bool dns=4:bool
    uri=5:bool
hcm.HttpConnectionManager.Tracing: random_sampling=4:envoy.type.v3.Percent overall_sampling=5:envoy.type.v3.Percent
    client_sampling=3:envoy.type.v3.Percent provider=9:envoy.config.trace.v3.Tracing.Http
    spawn_upstream_span=10:pb.BoolValue
    custom_tags=8:*envoy.type.tracing.v3.CustomTag operation=11:string
hcm.HttpConnectionManager.UpgradeConfig: upgrade_type=1:string
hcm.HttpFilter: name=1:string typed_config=4:pb.Any config_discovery=5:core.ExtensionConfigSource disabled=7:bool
hcm.Rds: config_source=1:core.ConfigSource route_config_name=2:string
hcm.ScopedRds: scoped_rds_config_source=1:core.ConfigSource srds_resources_locator=2:string
hcm.ScopedRoutes: name=1:string scope_key_builder=2:hcm.ScopedRoutes.ScopeKeyBuilder
    rds_config_source=3:core.ConfigSource scoped_rds=5:hcm.ScopedRds
hcm.ScopedRoutes.ScopeKeyBuilder: fragments=1:*hcm.ScopedRoutes.ScopeKeyBuilder.FragmentBuilder
hcm.ScopedRoutes.ScopeKeyBuilder.FragmentBuilder:
    header_value_extractor=1:hcm.ScopedRoutes.ScopeKeyBuilder.FragmentBuilder.HeaderValueExtractor
hcm.ScopedRoutes.ScopeKeyBuilder.FragmentBuilder.HeaderValueExtractor: name=1:string
    element_separator=2:string index=3:uint32
    element_separator=2:string
http.adaptive_concurrency.v3.AdaptiveConcurrency:
    gradient_controller_config=1:http.adaptive_concurrency.v3.GradientControllerConfig
    concurrency_limit_exceeded_status=3:envoy.type.v3.HttpStatus
http.adaptive_concurrency.v3.GradientControllerConfig:
    concurrency_limit_params=2:http.adaptive_concurrency.v3.GradientControllerConfig.ConcurrencyLimitCalculationParams
    min_rtt_calc_params=3:http.adaptive_concurrency.v3.GradientControllerConfig.MinimumRTTCalculationParams
http.adaptive_concurrency.v3.GradientControllerConfig.ConcurrencyLimitCalculationParams:
    max_concurrency_limit=2:pb.UInt32Value concurrency_update_interval=3:pb.Duration
http.adaptive_concurrency.v3.GradientControllerConfig.MinimumRTTCalculationParams: interval=1:pb.Duration
    min_concurrency=4:pb.UInt32Value
http.api_key_auth.v3.ApiKeyAuth:
http.api_key_auth.v3.ApiKeyAuthPerRoute: credentials=1:*http.api_key_auth.v3.Credential
    key_sources=2:*http.api_key_auth.v3.KeySource allowed_clients=3:*string
    forwarding=4:http.api_key_auth.v3.Forwarding
http.api_key_auth.v3.Credential: key=1:string client=2:string
http.api_key_auth.v3.Forwarding: header=1:string hide_credentials=2:bool
http.api_key_auth.v3.KeySource: header=1:string query=2:string cookie=3:string
http.bandwidth_limit.v3.BandwidthLimit: stat_prefix=1:string enable_mode=2:enum limit_kbps=3:pb.UInt64Value
http.buffer.v3.Buffer: max_request_bytes=1:pb.UInt32Value
http.buffer.v3.BufferPerRoute: disabled=1:bool buffer=2:http.buffer.v3.Buffer
http.compressor.v3.Compressor: compressor_library=6:core.TypedExtensionConfig
    response_direction_config=8:http.compressor.v3.Compressor.ResponseDirectionConfig choose_first=9:bool
http.compressor.v3.Compressor.CommonDirectionConfig: min_content_length=2:pb.UInt32Value content_type=3:*string
http.compressor.v3.Compressor.ResponseDirectionConfig:
    common_config=1:http.compressor.v3.Compressor.CommonDirectionConfig
http.cors.v3.Cors:
http.cors.v3.CorsPolicy: allow_origin_string_match=1:*matcher.StringMatcher allow_methods=2:string
    allow_headers=3:string expose_headers=4:string max_age=5:string allow_credentials=6:pb.BoolValue
    filter_enabled=7:core.RuntimeFractionalPercent forward_not_matching_preflights=10:pb.BoolValue
http.csrf.v3.CsrfPolicy: filter_enabled=1:core.RuntimeFractionalPercent additional_origins=3:*matcher.StringMatcher
http.dynamic_modules.v3.DynamicModuleFilter:
    dynamic_module_config=1:envoy.extensions.dynamic_modules.v3.DynamicModuleConfig filter_name=2:string
    filter_config=3:pb.Any terminal_filter=4:bool
http.ext_authz.v3.AuthorizationRequest: headers_to_add=2:*core.HeaderValue allowed_headers=1:matcher.ListStringMatcher
http.ext_authz.v3.AuthorizationResponse: allowed_upstream_headers=1:matcher.ListStringMatcher
    allowed_client_headers=2:matcher.ListStringMatcher
http.ext_authz.v3.BufferSettings: max_request_bytes=1:uint32 allow_partial_message=2:bool pack_as_bytes=3:bool
http.ext_authz.v3.CheckSettings: context_extensions=1:%string disable_request_body_buffering=2:bool
    with_request_body=3:http.ext_authz.v3.BufferSettings grpc_service=4:core.GrpcService
    http_service=5:http.ext_authz.v3.HttpService
http.ext_authz.v3.ExtAuthz: grpc_service=1:core.GrpcService failure_mode_allow=2:bool
    status_on_error=7:envoy.type.v3.HttpStatus transport_api_version=12:enum
    with_request_body=5:http.ext_authz.v3.BufferSettings http_service=3:http.ext_authz.v3.HttpService
    allowed_headers=17:matcher.ListStringMatcher clear_route_cache=6:bool include_peer_certificate=10:bool
http.ext_authz.v3.ExtAuthzPerRoute: disabled=1:bool check_settings=2:http.ext_authz.v3.CheckSettings
http.ext_authz.v3.HttpService: server_uri=1:core.HttpUri path_prefix=2:string
    authorization_request=7:http.ext_authz.v3.AuthorizationRequest
    authorization_response=8:http.ext_authz.v3.AuthorizationResponse
http.composite.v3.Composite:
http.composite.v3.ExecuteFilterAction: typed_config=1:core.TypedExtensionConfig
http.ext_proc.v3.ExtProcOverrides: processing_mode=1:http.ext_proc.v3.ProcessingMode
    failure_mode_allow=8:pb.BoolValue
http.ext_proc.v3.ExtProcPerRoute: disabled=1:bool overrides=2:http.ext_proc.v3.ExtProcOverrides
http.ext_proc.v3.ExternalProcessor: grpc_service=1:core.GrpcService failure_mode_allow=2:bool
    processing_mode=3:http.ext_proc.v3.ProcessingMode request_attributes=5:*string message_timeout=7:pb.Duration
    mutation_rules=9:envoy.config.common.mutation_rules.v3.HeaderMutationRules route_cache_action=18:enum
    status_on_error=24:envoy.type.v3.HttpStatus allow_content_length_header=26:bool
http.ext_proc.v3.ProcessingMode: request_header_mode=1:enum response_header_mode=2:enum request_body_mode=3:enum
    response_body_mode=4:enum request_trailer_mode=5:enum response_trailer_mode=6:enum
http.header_mutation.v3.HeaderMutation: mutations=1:http.header_mutation.v3.Mutations
http.header_mutation.v3.HeaderMutationPerRoute: mutations=1:http.header_mutation.v3.Mutations
http.header_mutation.v3.Mutations: request_mutations=1:*envoy.config.common.mutation_rules.v3.HeaderMutation
    response_mutations=2:*envoy.config.common.mutation_rules.v3.HeaderMutation
http.fault.v3.FaultAbort: http_status=2:uint32 percentage=3:envoy.type.v3.FractionalPercent
http.fault.v3.HTTPFault: delay=1:envoy.extensions.filters.common.fault.v3.FaultDelay abort=2:http.fault.v3.FaultAbort
http.file_system_buffer.v3.BufferBehavior: bypass=2:http.file_system_buffer.v3.BufferBehavior.Bypass
    fully_buffer=5:http.file_system_buffer.v3.BufferBehavior.FullyBuffer
http.file_system_buffer.v3.BufferBehavior.Bypass:
http.file_system_buffer.v3.BufferBehavior.FullyBuffer:
http.file_system_buffer.v3.FileSystemBufferFilterConfig:
    manager_config=1:envoy.extensions.common.async_files.v3.AsyncFileManagerConfig
    request=3:http.file_system_buffer.v3.StreamConfig response=4:http.file_system_buffer.v3.StreamConfig
http.file_system_buffer.v3.StreamConfig: behavior=1:http.file_system_buffer.v3.BufferBehavior
    memory_buffer_bytes_limit=2:pb.UInt64Value storage_buffer_bytes_limit=3:pb.UInt64Value
http.geoip.v3.Geoip: xff_config=1:http.geoip.v3.Geoip.XffConfig provider=3:core.TypedExtensionConfig
http.geoip.v3.Geoip.XffConfig: xff_num_trusted_hops=1:uint32
envoy.extensions.geoip_providers.common.v3.CommonGeoipProviderConfig:
    geo_field_keys=3:envoy.extensions.geoip_providers.common.v3.CommonGeoipProviderConfig.GeolocationFieldKeys
envoy.extensions.geoip_providers.common.v3.CommonGeoipProviderConfig.GeolocationFieldKeys: country=1:string city=2:string
    region=3:string asn=4:string anon=5:string anon_vpn=6:string anon_hosting=7:string anon_tor=8:string
    anon_proxy=9:string isp=10:string apple_private_relay=11:string
envoy.extensions.geoip_providers.maxmind.v3.MaxMindConfig: city_db_path=1:string asn_db_path=2:string
    anon_db_path=3:string isp_db_path=5:string country_db_path=6:string
    common_provider_config=4:envoy.extensions.geoip_providers.common.v3.CommonGeoipProviderConfig
http.grpc_web.v3.GrpcWeb:
http.jwt_authn.v3.JwtAuthentication: providers=1:%http.jwt_authn.v3.JwtProvider
    requirement_map=5:%http.jwt_authn.v3.JwtRequirement
http.jwt_authn.v3.JwtClaimToHeader: header_name=1:string claim_name=2:string
http.jwt_authn.v3.JwtHeader: name=1:string value_prefix=2:string
http.jwt_authn.v3.JwtProvider: issuer=1:string audiences=2:*string remote_jwks=3:http.jwt_authn.v3.RemoteJwks
    local_jwks=4:core.DataSource forward=5:bool from_headers=6:*http.jwt_authn.v3.JwtHeader from_params=7:*string
    forward_payload_header=8:string payload_in_metadata=9:string clock_skew_seconds=10:uint32 from_cookies=13:*string
    claim_to_headers=15:*http.jwt_authn.v3.JwtClaimToHeader
http.jwt_authn.v3.JwtRequirement: provider_name=1:string requires_any=3:http.jwt_authn.v3.JwtRequirementOrList
    allow_missing=6:pb.Empty
http.jwt_authn.v3.JwtRequirementOrList: requirements=1:*http.jwt_authn.v3.JwtRequirement
http.jwt_authn.v3.PerRouteConfig: requirement_name=2:string
http.jwt_authn.v3.RemoteJwks: http_uri=1:core.HttpUri cache_duration=2:pb.Duration
http.local_ratelimit.v3.LocalRateLimit: stat_prefix=1:string token_bucket=3:envoy.type.v3.TokenBucket
    filter_enabled=4:core.RuntimeFractionalPercent filter_enforced=5:core.RuntimeFractionalPercent
    descriptors=8:*envoy.extensions.common.ratelimit.v3.LocalRateLimitDescriptor
    always_consume_default_token_bucket=14:pb.BoolValue rate_limits=17:*route.RateLimit
    max_dynamic_descriptors=18:pb.UInt32Value
http.oauth2.v3.CookieConfig: same_site=1:enum path=2:string
http.oauth2.v3.CookieConfigs: bearer_token_cookie_config=1:http.oauth2.v3.CookieConfig
    oauth_hmac_cookie_config=2:http.oauth2.v3.CookieConfig oauth_expires_cookie_config=3:http.oauth2.v3.CookieConfig
    id_token_cookie_config=4:http.oauth2.v3.CookieConfig refresh_token_cookie_config=5:http.oauth2.v3.CookieConfig
    oauth_nonce_cookie_config=6:http.oauth2.v3.CookieConfig code_verifier_cookie_config=7:http.oauth2.v3.CookieConfig
http.oauth2.v3.OAuth2: config=1:http.oauth2.v3.OAuth2Config
http.oauth2.v3.OAuth2Config: token_endpoint=1:core.HttpUri authorization_endpoint=2:string
    credentials=3:http.oauth2.v3.OAuth2Credentials redirect_uri=4:string redirect_path_matcher=5:matcher.PathMatcher
    signout_path=6:matcher.PathMatcher forward_bearer_token=7:bool auth_scopes=9:*string resources=10:*string
    auth_type=11:enum use_refresh_token=12:pb.BoolValue default_expires_in=13:pb.Duration
    deny_redirect_matcher=14:*route.HeaderMatcher default_refresh_token_expires_in=15:pb.Duration
    preserve_authorization_header=16:bool cookie_configs=21:http.oauth2.v3.CookieConfigs stat_prefix=22:string
    end_session_endpoint=23:string
http.oauth2.v3.OAuth2Credentials: client_id=1:string token_secret=2:tls.SdsSecretConfig hmac_secret=3:tls.SdsSecretConfig
    cookie_names=4:http.oauth2.v3.OAuth2Credentials.CookieNames cookie_domain=5:string
http.oauth2.v3.OAuth2Credentials.CookieNames: bearer_token=1:string oauth_hmac=2:string oauth_expires=3:string
    id_token=4:string refresh_token=5:string oauth_nonce=6:string code_verifier=7:string
http.ratelimit.v3.RateLimit: domain=1:string timeout=4:pb.Duration failure_mode_deny=5:bool
    rate_limit_service=7:envoy.config.ratelimit.v3.RateLimitServiceConfig disable_x_envoy_ratelimited_header=9:bool
    status_on_error=12:envoy.type.v3.HttpStatus stat_prefix=13:string
http.ratelimit.v3.RateLimitPerRoute: rate_limits=3:*route.RateLimit domain=4:string
http.lua.v3.Lua: default_source_code=3:core.DataSource source_codes=2:%core.DataSource
http.lua.v3.LuaPerRoute: filter_context=4:pb.Struct name=2:string
http.rbac.v3.RBAC: rules=1:envoy.config.rbac.v3.RBAC
http.rbac.v3.RBACPerRoute: rbac=2:http.rbac.v3.RBAC
http.router.v3.Router: suppress_envoy_headers=4:bool upstream_http_filters=8:*hcm.HttpFilter
http.stateful_session.v3.StatefulSession: session_state=1:core.TypedExtensionConfig strict=2:bool
http.stateful_session.v3.StatefulSessionPerRoute: disabled=1:bool
    stateful_session=2:http.stateful_session.v3.StatefulSession
http.upstream_codec.v3.UpstreamCodec:
http.wasm.v3.Wasm: config=1:envoy.extensions.wasm.v3.PluginConfig
listener.Filter: name=1:string typed_config=4:pb.Any
listener.FilterChain: filter_chain_match=1:listener.FilterChainMatch filters=3:*listener.Filter
    transport_socket=6:core.TransportSocket name=7:string transport_socket_connect_timeout=9:pb.Duration
listener.FilterChainMatch: server_names=11:*string transport_protocol=9:string application_protocols=10:*string
listener.Listener: name=1:string address=2:core.Address filter_chains=3:*listener.FilterChain
    listener_filters=9:*listener.ListenerFilter default_filter_chain=25:listener.FilterChain
    udp_listener_config=18:listener.UdpListenerConfig enable_reuse_port=29:pb.BoolValue
    per_connection_buffer_high_watermark_timeout=38:pb.Duration
    per_connection_buffer_limit_bytes=5:pb.UInt32Value drain_type=8:enum listener_filters_timeout=15:pb.Duration
    ignore_global_conn_limit=31:bool continue_on_listener_filters_timeout=17:bool
    access_log=22:*envoy.config.accesslog.v3.AccessLog stat_prefix=28:string
listener.ListenerFilter: name=1:string typed_config=3:pb.Any
listener.QuicProtocolOptions: idle_timeout=2:pb.Duration
listener.UdpListenerConfig: quic_options=7:listener.QuicProtocolOptions
    downstream_socket_config=5:core.UdpSocketConfig
matcher.HttpRequestHeaderMatchInput: header_name=1:string
matcher.ListStringMatcher: patterns=1:*matcher.StringMatcher
matcher.DoubleMatcher: exact=2:double
matcher.ListMatcher: one_of=1:matcher.ValueMatcher
matcher.MetadataMatcher: filter=1:string path=2:*matcher.MetadataMatcher.PathSegment value=3:matcher.ValueMatcher
matcher.MetadataMatcher.PathSegment: key=1:string
matcher.ValueMatcher: double_match=2:matcher.DoubleMatcher string_match=3:matcher.StringMatcher bool_match=4:bool
    list_match=6:matcher.ListMatcher
matcher.PathMatcher: path=1:matcher.StringMatcher
matcher.RegexMatchAndSubstitute: pattern=1:matcher.RegexMatcher substitution=2:string
matcher.RegexMatcher: regex=2:string
matcher.StringMatcher: exact=1:string safe_regex=5:matcher.RegexMatcher prefix=2:string suffix=3:string
    contains=7:string ignore_case=6:bool
opentelemetry.proto.common.v1.AnyValue: string_value=1:string
opentelemetry.proto.common.v1.KeyValue: key=1:string value=2:opentelemetry.proto.common.v1.AnyValue
opentelemetry.proto.common.v1.KeyValueList: values=1:*opentelemetry.proto.common.v1.KeyValue
pb.BoolValue: value=1:bool
pb.Empty:
pb.Duration: seconds=1:int64 nanos=2:int32
pb.StringValue: value=1:string
pb.Struct: fields=1:%pb.Value
pb.Timestamp: seconds=1:int64 nanos=2:int32
pb.UInt32Value: value=1:uint32
pb.UInt64Value: value=1:uint64
pb.Value: null_value=1:enum number_value=2:double string_value=3:string bool_value=4:bool struct_value=5:pb.Struct
route.DirectResponseAction: status=1:uint32 body=2:core.DataSource
route.FilterConfig: config=1:pb.Any is_optional=2:bool disabled=3:bool
route.HeaderMatcher: name=1:string string_match=13:matcher.StringMatcher present_match=7:bool invert_match=8:bool
    treat_missing_header_as_empty=14:bool
route.QueryParameterMatcher: name=1:string string_match=5:matcher.StringMatcher present_match=6:bool
route.RateLimit: actions=3:*route.RateLimit.Action apply_on_stream_done=6:bool
route.RateLimit.Action: request_headers=3:route.RateLimit.Action.RequestHeaders
    remote_address=4:route.RateLimit.Action.RemoteAddress generic_key=5:route.RateLimit.Action.GenericKey
    metadata=8:route.RateLimit.Action.MetaData
route.RateLimit.Action.GenericKey: descriptor_value=1:string descriptor_key=2:string
route.RateLimit.Action.MetaData: descriptor_key=1:string metadata_key=2:envoy.type.metadata.v3.MetadataKey
route.RateLimit.Action.RemoteAddress:
route.RateLimit.Action.RequestHeaders: header_name=1:string descriptor_key=2:string
route.RedirectAction: scheme_redirect=7:string host_redirect=1:string port_redirect=8:uint32 path_redirect=2:string
    prefix_rewrite=5:string response_code=3:enum regex_rewrite=9:matcher.RegexMatchAndSubstitute strip_query=6:bool
route.RetryPolicy: retry_on=1:string num_retries=2:pb.UInt32Value per_try_timeout=3:pb.Duration
    retriable_status_codes=7:*uint32 retry_back_off=8:route.RetryPolicy.RetryBackOff
    retry_host_predicate=5:*route.RetryPolicy.RetryHostPredicate host_selection_retry_max_attempts=6:int64
route.RetryPolicy.RetryBackOff: base_interval=1:pb.Duration max_interval=2:pb.Duration
route.RetryPolicy.RetryHostPredicate: name=1:string typed_config=3:pb.Any
route.Route: name=14:string match=1:route.RouteMatch route=2:route.RouteAction redirect=3:route.RedirectAction
    direct_response=7:route.DirectResponseAction typed_per_filter_config=13:%pb.Any
    request_headers_to_add=9:*core.HeaderValueOption request_headers_to_remove=12:*string
    response_headers_to_add=10:*core.HeaderValueOption response_headers_to_remove=11:*string metadata=4:core.Metadata
    stat_prefix=19:string decorator=5:route.Decorator request_body_buffer_limit=20:pb.UInt64Value
route.RouteAction: cluster=1:string weighted_clusters=3:route.WeightedCluster prefix_rewrite=5:string
    regex_rewrite=32:matcher.RegexMatchAndSubstitute host_rewrite_literal=6:string timeout=8:pb.Duration
    request_mirror_policies=30:*route.RouteAction.RequestMirrorPolicy retry_policy=9:route.RetryPolicy
    hash_policy=15:*route.RouteAction.HashPolicy idle_timeout=24:pb.Duration
    max_stream_duration=36:route.RouteAction.MaxStreamDuration auto_host_rewrite=7:pb.BoolValue
    upgrade_configs=25:*route.RouteAction.UpgradeConfig cluster_not_found_response_code=20:enum
route.RouteAction.MaxStreamDuration: max_stream_duration=1:pb.Duration grpc_timeout_header_max=2:pb.Duration
route.RouteAction.RequestMirrorPolicy: cluster=1:string runtime_fraction=3:core.RuntimeFractionalPercent
    disable_shadow_host_suffix_append=6:bool
route.RouteAction.UpgradeConfig: upgrade_type=1:string enabled=2:pb.BoolValue
route.RouteConfiguration: name=1:string virtual_hosts=2:*route.VirtualHost ignore_port_in_host_matching=14:bool
    max_direct_response_body_size_bytes=11:pb.UInt32Value request_headers_to_remove=8:*string
route.RouteMatch: prefix=1:string path=2:string safe_regex=10:matcher.RegexMatcher path_separated_prefix=14:string
    headers=6:*route.HeaderMatcher query_parameters=7:*route.QueryParameterMatcher
    runtime_fraction=9:core.RuntimeFractionalPercent grpc=8:route.RouteMatch.GrpcRouteMatchOptions
    connect_matcher=12:route.RouteMatch.ConnectMatcher
route.RouteMatch.ConnectMatcher:
route.RouteMatch.GrpcRouteMatchOptions:
route.ScopedRouteConfiguration: name=1:string route_configuration_name=2:string
    key=3:route.ScopedRouteConfiguration.Key on_demand=4:bool
route.ScopedRouteConfiguration.Key: fragments=1:*route.ScopedRouteConfiguration.Key.Fragment
route.ScopedRouteConfiguration.Key.Fragment: string_key=1:string
route.VirtualHost: name=1:string domains=2:*string routes=3:*route.Route
    request_headers_to_add=7:*core.HeaderValueOption response_headers_to_add=10:*core.HeaderValueOption
    typed_per_filter_config=15:%pb.Any include_request_attempt_count=14:bool
route.WeightedCluster: clusters=1:*route.WeightedCluster.ClusterWeight
route.WeightedCluster.ClusterWeight: name=1:string weight=2:pb.UInt32Value
    request_headers_to_add=4:*core.HeaderValueOption request_headers_to_remove=9:*string
    response_headers_to_add=5:*core.HeaderValueOption response_headers_to_remove=6:*string
    host_rewrite_literal=11:string typed_per_filter_config=10:%pb.Any
tls.CertificateValidationContext: trusted_ca=1:core.DataSource
    match_typed_subject_alt_names=15:*tls.SubjectAltNameMatcher trust_chain_verification=10:enum
    system_root_certs=17:tls.CertificateValidationContext.SystemRootCerts
tls.CertificateValidationContext.SystemRootCerts:
tls.CommonTlsContext: tls_certificates=2:*tls.TlsCertificate alpn_protocols=4:*string
    tls_certificate_sds_secret_configs=6:*tls.SdsSecretConfig validation_context=3:tls.CertificateValidationContext
    validation_context_sds_secret_config=7:tls.SdsSecretConfig
    combined_validation_context=8:tls.CommonTlsContext.CombinedCertificateValidationContext
    tls_params=1:tls.TlsParameters
tls.CommonTlsContext.CombinedCertificateValidationContext:
    default_validation_context=1:tls.CertificateValidationContext
    validation_context_sds_secret_config=2:tls.SdsSecretConfig
tls.DownstreamTlsContext: common_tls_context=1:tls.CommonTlsContext require_client_certificate=2:pb.BoolValue
tls.GenericSecret: secret=1:core.DataSource
tls.SdsSecretConfig: name=1:string sds_config=2:core.ConfigSource
tls.Secret: name=1:string tls_certificate=2:tls.TlsCertificate validation_context=4:tls.CertificateValidationContext
    generic_secret=5:tls.GenericSecret
tls.SubjectAltNameMatcher: san_type=1:enum matcher=2:matcher.StringMatcher
tls.TlsCertificate: certificate_chain=1:core.DataSource private_key=2:core.DataSource
tls.TlsParameters: tls_minimum_protocol_version=1:enum tls_maximum_protocol_version=2:enum cipher_suites=3:*string
tls.UpstreamTlsContext: common_tls_context=1:tls.CommonTlsContext sni=2:string
xds.TypedExtensionConfig: name=1:string typed_config=2:pb.Any
xds.type.matcher.v3.Matcher: on_no_match=3:xds.type.matcher.v3.Matcher.OnMatch
    matcher_list=1:xds.type.matcher.v3.Matcher.MatcherList
xds.type.matcher.v3.Matcher.MatcherList: matchers=1:*xds.type.matcher.v3.Matcher.MatcherList.FieldMatcher
xds.type.matcher.v3.Matcher.MatcherList.FieldMatcher: predicate=1:xds.type.matcher.v3.Matcher.MatcherList.Predicate
    on_match=2:xds.type.matcher.v3.Matcher.OnMatch
xds.type.matcher.v3.Matcher.MatcherList.Predicate:
    single_predicate=1:xds.type.matcher.v3.Matcher.MatcherList.Predicate.SinglePredicate
    or_matcher=2:xds.type.matcher.v3.Matcher.MatcherList.Predicate.PredicateList
    not_matcher=4:xds.type.matcher.v3.Matcher.MatcherList.Predicate
xds.type.matcher.v3.Matcher.MatcherList.Predicate.PredicateList:
    predicate=1:*xds.type.matcher.v3.Matcher.MatcherList.Predicate
xds.type.matcher.v3.Matcher.MatcherList.Predicate.SinglePredicate: input=1:xds.TypedExtensionConfig
    value_match=2:xds.type.matcher.v3.StringMatcher
xds.type.matcher.v3.RegexMatcher: google_re2=1:xds.type.matcher.v3.RegexMatcher.GoogleRE2 regex=2:string
xds.type.matcher.v3.RegexMatcher.GoogleRE2:
xds.type.matcher.v3.StringMatcher: exact=1:string safe_regex=5:xds.type.matcher.v3.RegexMatcher
xds.type.matcher.v3.Matcher.OnMatch: action=2:xds.TypedExtensionConfig
"""

Fields = dict[str, tuple[int, str]]


def full_name(name: str) -> str:
    """Return a message's full name (``core.Address`` → ``envoy.config.core.v3.Address``); scalars stay."""
    first, dot, rest = name.partition(".")
    return f"{PREFIXES[first]}.{rest}" if dot and first in PREFIXES else name


def parse(table: str) -> dict[str, Fields]:
    """Return full message name → field → (number, type); a type has ``* `` or ``map `` before it."""
    messages: dict[str, Fields] = {}
    for line in table.replace("\n    ", " ").strip().splitlines():
        name, _, rest = line.partition(":")
        fields = messages[full_name(name)] = {}
        for entry in rest.split():
            field, _, what = entry.partition("=")
            number, _, kind = what.partition(":")
            prefix = {"*": "* ", "%": "map "}.get(kind[0], "")
            fields[field] = int(number), prefix + full_name(kind.lstrip("*%"))
    return messages


MESSAGES = parse(TABLE)
