import java.nio.file.Path;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.TimeUnit;

import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.env.Environment;
import org.elasticsearch.node.InternalSettingsPreparer;
import org.elasticsearch.node.Node;
import org.elasticsearch.plugins.PluginsLoader;

/** One Elasticsearch node in this process: java TestNode HOME CONFIG [PLUGINS]. HOME has modules, CONFIG elasticsearch.yml. */
public final class TestNode {
    private TestNode() {}

    public static void main(String[] args) throws Exception {
        Path home = Path.of(args[0]), config = Path.of(args[1]);
        LogConfigurator.registerErrorListener();
        LogConfigurator.configureESLogging();
        Settings given = Settings.builder().put("path.home", home).build();
        Environment environment = InternalSettingsPreparer.prepareEnvironment(given, Map.of(), config, () -> "test");
        LogConfigurator.setNodeName("test");
        LogConfigurator.configure(environment, true);
        PluginsLoader plugins = PluginsLoader.createPluginsLoader(
            PluginsLoader.loadModulesBundles(environment.modulesDir()),
            args.length > 2 ? PluginsLoader.loadPluginsBundles(Path.of(args[2])) : Set.of(), Map.of(), false);
        Node node = new Node(environment, plugins);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> close(node)));
        node.start();
        Thread.currentThread().join();
    }

    private static void close(Node node) {
        try {
            node.close();
            node.awaitClose(10, TimeUnit.SECONDS);
        } catch (Exception e) {
            e.printStackTrace();
        }
    }
}
