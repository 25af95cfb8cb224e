import java.util.List;
import java.util.Map;

import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.node.InternalSettingsPreparer;
import org.elasticsearch.node.Node;
import org.elasticsearch.transport.Netty4Plugin;

/** One Elasticsearch node with HTTP, of the jars that Maven has: {@code java ElasticsearchNode.java FOLDER PORT}. */
class ElasticsearchNode extends Node {
    ElasticsearchNode(Settings settings) {
        super(
            InternalSettingsPreparer.prepareEnvironment(settings, Map.of(), null, () -> "test"),
            List.of(Netty4Plugin.class),
            false
        );
    }

    public static void main(String[] words) throws Exception {
        Settings settings = Settings.builder()
            .put("path.home", words[0])
            .put("cluster.name", "sampan-test")
            .put("discovery.type", "single-node")
            .put("http.port", words[1])
            .put("network.host", "127.0.0.1")
            .put("transport.port", "0")
            .put("http.type", "netty4")
            .put("transport.type", "netty4")
            .put("cluster.routing.allocation.disk.threshold_enabled", false)
            .build();
        new ElasticsearchNode(settings).start();
        Thread.currentThread().join();
    }
}
