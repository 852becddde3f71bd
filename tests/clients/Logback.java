import ch.qos.logback.classic.LoggerContext;
import java.nio.file.Files;
import java.nio.file.Path;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Logs each line of a file: `java -cp JARS -Dport=PORT -Dlogback.configurationFile=logback.xml Logback.java FILE`. */
public class Logback {
    public static void main(String[] args) throws Exception {
        Logger logger = LoggerFactory.getLogger("app");
        for (String line : Files.readAllLines(Path.of(args[0]))) {
            logger.info(line);
        }
        // The appender has a thread of its own: what it has not sent yet goes out here.
        ((LoggerContext) LoggerFactory.getILoggerFactory()).stop();
    }
}
