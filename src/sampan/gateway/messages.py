"""Envoy's messages as data: the fields we use of each, with their numbers and types.

A type is a scalar (``string``, ``uint32``, ``enum`` …), a message by its full name, ``* T`` for repeated, ``map T`` for a map
with string keys. ``encode.py`` is the one engine that reads this. Source: the protobuf definitions of Envoy's API v3,
gRPC's ``google.rpc.Status``.
"""

from __future__ import annotations

MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "envoy.config.cluster.v3.Cluster": {
        "name": (1, "string"),
        "type": (2, "enum"),
        "eds_cluster_config": (3, "envoy.config.cluster.v3.Cluster.EdsClusterConfig"),
        "connect_timeout": (4, "google.protobuf.Duration"),
        "load_assignment": (33, "envoy.config.endpoint.v3.ClusterLoadAssignment"),
        "typed_extension_protocol_options": (36, "map google.protobuf.Any"),
        "ignore_health_on_host_removal": (32, "bool"),
    },
    "envoy.config.cluster.v3.Cluster.EdsClusterConfig": {
        "eds_config": (1, "envoy.config.core.v3.ConfigSource"),
        "service_name": (2, "string"),
    },
    "envoy.config.core.v3.Address": {
        "socket_address": (1, "envoy.config.core.v3.SocketAddress"),
        "pipe": (2, "envoy.config.core.v3.Pipe"),
    },
    "envoy.config.core.v3.AggregatedConfigSource": {},
    "envoy.config.core.v3.AsyncDataSource": {
        "local": (1, "envoy.config.core.v3.DataSource"),
    },
    "envoy.config.core.v3.ConfigSource": {
        "ads": (3, "envoy.config.core.v3.AggregatedConfigSource"),
        "initial_fetch_timeout": (4, "google.protobuf.Duration"),
        "resource_api_version": (6, "enum"),
    },
    "envoy.config.core.v3.DataSource": {
        "filename": (1, "string"),
        "inline_string": (3, "string"),
        "inline_bytes": (2, "bytes"),
    },
    "envoy.config.core.v3.ExtensionConfigSource": {
        "config_source": (1, "envoy.config.core.v3.ConfigSource"),
        "type_urls": (4, "* string"),
    },
    "envoy.config.core.v3.GrpcService": {
        "envoy_grpc": (1, "envoy.config.core.v3.GrpcService.EnvoyGrpc"),
        "timeout": (3, "google.protobuf.Duration"),
    },
    "envoy.config.core.v3.GrpcService.EnvoyGrpc": {
        "cluster_name": (1, "string"),
        "authority": (2, "string"),
    },
    "envoy.config.core.v3.HeaderValue": {
        "key": (1, "string"),
        "value": (2, "string"),
    },
    "envoy.config.core.v3.HeaderValueOption": {
        "header": (1, "envoy.config.core.v3.HeaderValue"),
        "append_action": (3, "enum"),
    },
    "envoy.config.core.v3.Http1ProtocolOptions": {},
    "envoy.config.core.v3.Http2ProtocolOptions": {},
    "envoy.config.core.v3.Pipe": {
        "path": (1, "string"),
        "mode": (2, "uint32"),
    },
    "envoy.config.core.v3.SocketAddress": {
        "address": (2, "string"),
        "port_value": (3, "uint32"),
    },
    "envoy.config.core.v3.TransportSocket": {
        "name": (1, "string"),
        "typed_config": (3, "google.protobuf.Any"),
    },
    "envoy.config.core.v3.TypedExtensionConfig": {
        "name": (1, "string"),
        "typed_config": (2, "google.protobuf.Any"),
    },
    "envoy.config.endpoint.v3.ClusterLoadAssignment": {
        "cluster_name": (1, "string"),
        "endpoints": (2, "* envoy.config.endpoint.v3.LocalityLbEndpoints"),
    },
    "envoy.config.endpoint.v3.Endpoint": {
        "address": (1, "envoy.config.core.v3.Address"),
    },
    "envoy.config.endpoint.v3.LbEndpoint": {
        "endpoint": (1, "envoy.config.endpoint.v3.Endpoint"),
        "health_status": (2, "enum"),
    },
    "envoy.config.endpoint.v3.LocalityLbEndpoints": {
        "lb_endpoints": (2, "* envoy.config.endpoint.v3.LbEndpoint"),
    },
    "envoy.config.listener.v3.Filter": {
        "name": (1, "string"),
        "typed_config": (4, "google.protobuf.Any"),
    },
    "envoy.config.listener.v3.FilterChain": {
        "filter_chain_match": (1, "envoy.config.listener.v3.FilterChainMatch"),
        "filters": (3, "* envoy.config.listener.v3.Filter"),
        "transport_socket": (6, "envoy.config.core.v3.TransportSocket"),
        "name": (7, "string"),
    },
    "envoy.config.listener.v3.FilterChainMatch": {
        "server_names": (11, "* string"),
        "transport_protocol": (9, "string"),
    },
    "envoy.config.listener.v3.Listener": {
        "name": (1, "string"),
        "address": (2, "envoy.config.core.v3.Address"),
        "filter_chains": (3, "* envoy.config.listener.v3.FilterChain"),
        "listener_filters": (9, "* envoy.config.listener.v3.ListenerFilter"),
        "default_filter_chain": (25, "envoy.config.listener.v3.FilterChain"),
    },
    "envoy.config.listener.v3.ListenerFilter": {
        "name": (1, "string"),
        "typed_config": (3, "google.protobuf.Any"),
    },
    "envoy.config.route.v3.DirectResponseAction": {
        "status": (1, "uint32"),
        "body": (2, "envoy.config.core.v3.DataSource"),
    },
    "envoy.config.route.v3.HeaderMatcher": {
        "name": (1, "string"),
        "string_match": (13, "envoy.type.matcher.v3.StringMatcher"),
        "present_match": (7, "bool"),
    },
    "envoy.config.route.v3.QueryParameterMatcher": {
        "name": (1, "string"),
        "string_match": (5, "envoy.type.matcher.v3.StringMatcher"),
    },
    "envoy.config.route.v3.RedirectAction": {
        "scheme_redirect": (7, "string"),
        "host_redirect": (1, "string"),
        "port_redirect": (8, "uint32"),
        "path_redirect": (2, "string"),
        "prefix_rewrite": (5, "string"),
        "response_code": (3, "enum"),
    },
    "envoy.config.route.v3.RetryPolicy": {
        "retry_on": (1, "string"),
        "num_retries": (2, "google.protobuf.UInt32Value"),
    },
    "envoy.config.route.v3.Route": {
        "name": (14, "string"),
        "match": (1, "envoy.config.route.v3.RouteMatch"),
        "route": (2, "envoy.config.route.v3.RouteAction"),
        "redirect": (3, "envoy.config.route.v3.RedirectAction"),
        "direct_response": (7, "envoy.config.route.v3.DirectResponseAction"),
        "typed_per_filter_config": (13, "map google.protobuf.Any"),
        "request_headers_to_add": (9, "* envoy.config.core.v3.HeaderValueOption"),
        "request_headers_to_remove": (12, "* string"),
        "response_headers_to_add": (10, "* envoy.config.core.v3.HeaderValueOption"),
        "response_headers_to_remove": (11, "* string"),
    },
    "envoy.config.route.v3.RouteAction": {
        "cluster": (1, "string"),
        "weighted_clusters": (3, "envoy.config.route.v3.WeightedCluster"),
        "prefix_rewrite": (5, "string"),
        "regex_rewrite": (32, "envoy.type.matcher.v3.RegexMatchAndSubstitute"),
        "host_rewrite_literal": (6, "string"),
        "timeout": (8, "google.protobuf.Duration"),
        "request_mirror_policies": (30, "* envoy.config.route.v3.RouteAction.RequestMirrorPolicy"),
        "retry_policy": (9, "envoy.config.route.v3.RetryPolicy"),
    },
    "envoy.config.route.v3.RouteAction.RequestMirrorPolicy": {
        "cluster": (1, "string"),
    },
    "envoy.config.route.v3.RouteConfiguration": {
        "name": (1, "string"),
        "virtual_hosts": (2, "* envoy.config.route.v3.VirtualHost"),
        "ignore_port_in_host_matching": (14, "bool"),
    },
    "envoy.config.route.v3.RouteMatch": {
        "prefix": (1, "string"),
        "path": (2, "string"),
        "safe_regex": (10, "envoy.type.matcher.v3.RegexMatcher"),
        "path_separated_prefix": (14, "string"),
        "headers": (6, "* envoy.config.route.v3.HeaderMatcher"),
        "query_parameters": (7, "* envoy.config.route.v3.QueryParameterMatcher"),
    },
    "envoy.config.route.v3.VirtualHost": {
        "name": (1, "string"),
        "domains": (2, "* string"),
        "routes": (3, "* envoy.config.route.v3.Route"),
    },
    "envoy.config.route.v3.WeightedCluster": {
        "clusters": (1, "* envoy.config.route.v3.WeightedCluster.ClusterWeight"),
    },
    "envoy.config.route.v3.WeightedCluster.ClusterWeight": {
        "name": (1, "string"),
        "weight": (2, "google.protobuf.UInt32Value"),
        "request_headers_to_add": (4, "* envoy.config.core.v3.HeaderValueOption"),
        "request_headers_to_remove": (9, "* string"),
        "response_headers_to_add": (5, "* envoy.config.core.v3.HeaderValueOption"),
        "response_headers_to_remove": (6, "* string"),
    },
    "envoy.extensions.dynamic_modules.v3.DynamicModuleConfig": {
        "name": (1, "string"),
        "do_not_close": (3, "bool"),
        "module": (6, "envoy.config.core.v3.AsyncDataSource"),
    },
    "envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter": {
        "dynamic_module_config": (1, "envoy.extensions.dynamic_modules.v3.DynamicModuleConfig"),
        "filter_name": (2, "string"),
        "filter_config": (3, "google.protobuf.Any"),
        "terminal_filter": (4, "bool"),
    },
    "envoy.extensions.filters.http.ext_authz.v3.BufferSettings": {
        "max_request_bytes": (1, "uint32"),
        "allow_partial_message": (2, "bool"),
    },
    "envoy.extensions.filters.http.ext_authz.v3.CheckSettings": {},
    "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz": {
        "grpc_service": (1, "envoy.config.core.v3.GrpcService"),
        "failure_mode_allow": (2, "bool"),
        "status_on_error": (7, "envoy.type.v3.HttpStatus"),
        "transport_api_version": (12, "enum"),
        "with_request_body": (5, "envoy.extensions.filters.http.ext_authz.v3.BufferSettings"),
    },
    "envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute": {
        "disabled": (1, "bool"),
        "check_settings": (2, "envoy.extensions.filters.http.ext_authz.v3.CheckSettings"),
    },
    "envoy.extensions.filters.http.router.v3.Router": {
        "suppress_envoy_headers": (4, "bool"),
    },
    "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector": {},
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager": {
        "codec_type": (1, "enum"),
        "stat_prefix": (2, "string"),
        "rds": (3, "envoy.extensions.filters.network.http_connection_manager.v3.Rds"),
        "route_config": (4, "envoy.config.route.v3.RouteConfiguration"),
        "http_filters": (5, "* envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter"),
        "use_remote_address": (14, "google.protobuf.BoolValue"),
        "upgrade_configs": (
            23,
            "* envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.UpgradeConfig",
        ),
        "strip_any_host_port": (42, "bool"),
        "normalize_path": (30, "google.protobuf.BoolValue"),
        "stream_idle_timeout": (24, "google.protobuf.Duration"),
        "server_header_transformation": (34, "enum"),
    },
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.UpgradeConfig": {
        "upgrade_type": (1, "string"),
    },
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter": {
        "name": (1, "string"),
        "typed_config": (4, "google.protobuf.Any"),
        "config_discovery": (5, "envoy.config.core.v3.ExtensionConfigSource"),
        "disabled": (7, "bool"),
    },
    "envoy.extensions.filters.network.http_connection_manager.v3.Rds": {
        "config_source": (1, "envoy.config.core.v3.ConfigSource"),
        "route_config_name": (2, "string"),
    },
    "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext": {
        "tls_certificates": (2, "* envoy.extensions.transport_sockets.tls.v3.TlsCertificate"),
        "alpn_protocols": (4, "* string"),
    },
    "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext": {
        "common_tls_context": (1, "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext"),
    },
    "envoy.extensions.transport_sockets.tls.v3.TlsCertificate": {
        "certificate_chain": (1, "envoy.config.core.v3.DataSource"),
        "private_key": (2, "envoy.config.core.v3.DataSource"),
    },
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "explicit_http_config": (3, "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.ExplicitHttpConfig"),
    },
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.ExplicitHttpConfig": {
        "http_protocol_options": (1, "envoy.config.core.v3.Http1ProtocolOptions"),
        "http2_protocol_options": (2, "envoy.config.core.v3.Http2ProtocolOptions"),
    },
    "envoy.service.auth.v3.AttributeContext": {
        "request": (4, "envoy.service.auth.v3.AttributeContext.Request"),
        "source": (1, "envoy.service.auth.v3.AttributeContext.Peer"),
    },
    "envoy.service.auth.v3.AttributeContext.HttpRequest": {
        "id": (1, "string"),
        "method": (2, "string"),
        "headers": (3, "map string"),
        "path": (4, "string"),
        "host": (5, "string"),
        "scheme": (6, "string"),
        "query": (7, "string"),
        "body": (11, "string"),
        "raw_body": (12, "bytes"),
    },
    "envoy.service.auth.v3.AttributeContext.Peer": {
        "address": (1, "envoy.config.core.v3.Address"),
    },
    "envoy.service.auth.v3.AttributeContext.Request": {
        "http": (2, "envoy.service.auth.v3.AttributeContext.HttpRequest"),
    },
    "envoy.service.auth.v3.CheckRequest": {
        "attributes": (1, "envoy.service.auth.v3.AttributeContext"),
    },
    "envoy.service.auth.v3.CheckResponse": {
        "status": (1, "google.rpc.Status"),
        "denied_response": (2, "envoy.service.auth.v3.DeniedHttpResponse"),
        "ok_response": (3, "envoy.service.auth.v3.OkHttpResponse"),
    },
    "envoy.service.auth.v3.DeniedHttpResponse": {
        "status": (1, "envoy.type.v3.HttpStatus"),
        "headers": (2, "* envoy.config.core.v3.HeaderValueOption"),
        "body": (3, "string"),
    },
    "envoy.service.auth.v3.OkHttpResponse": {
        "headers": (2, "* envoy.config.core.v3.HeaderValueOption"),
        "headers_to_remove": (5, "* string"),
        "response_headers_to_add": (6, "* envoy.config.core.v3.HeaderValueOption"),
    },
    "envoy.service.discovery.v3.DeltaDiscoveryRequest": {
        "type_url": (2, "string"),
        "resource_names_subscribe": (3, "* string"),
        "resource_names_unsubscribe": (4, "* string"),
        "response_nonce": (6, "string"),
        "error_detail": (7, "google.rpc.Status"),
    },
    "envoy.service.discovery.v3.DeltaDiscoveryResponse": {
        "system_version_info": (1, "string"),
        "resources": (2, "* envoy.service.discovery.v3.Resource"),
        "type_url": (4, "string"),
        "removed_resources": (6, "* string"),
        "nonce": (5, "string"),
    },
    "envoy.service.discovery.v3.Resource": {
        "name": (3, "string"),
        "version": (1, "string"),
        "resource": (2, "google.protobuf.Any"),
    },
    "envoy.type.matcher.v3.RegexMatchAndSubstitute": {
        "pattern": (1, "envoy.type.matcher.v3.RegexMatcher"),
        "substitution": (2, "string"),
    },
    "envoy.type.matcher.v3.RegexMatcher": {
        "regex": (2, "string"),
    },
    "envoy.type.matcher.v3.StringMatcher": {
        "exact": (1, "string"),
        "safe_regex": (5, "envoy.type.matcher.v3.RegexMatcher"),
    },
    "envoy.type.v3.HttpStatus": {
        "code": (1, "enum"),
    },
    "google.protobuf.BoolValue": {
        "value": (1, "bool"),
    },
    "google.protobuf.Duration": {
        "seconds": (1, "int64"),
        "nanos": (2, "int32"),
    },
    "google.protobuf.StringValue": {
        "value": (1, "string"),
    },
    "google.protobuf.UInt32Value": {
        "value": (1, "uint32"),
    },
    "google.rpc.Status": {
        "code": (1, "int32"),
        "message": (2, "string"),
    },
}
