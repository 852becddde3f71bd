import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.logging.log4j.LogManager;
import org.apache.logging.log4j.Logger;

/** Logs each line of a file: `java -cp JARS -Dport=PORT -Dlog4j2.configurationFile=log4j2.xml Log4j2.java FILE PAUSE_MS`. */
public class Log4j2 {
    public static void main(String[] args) throws Exception {
        Logger logger = LogManager.getLogger("app");
        for (String line : Files.readAllLines(Path.of(args[0]))) {
            logger.info(line);
            Thread.sleep(Long.parseLong(args[1]));
        }
        LogManager.shutdown();
    }
}
