import java.io.ObjectOutputStream;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.logging.Level;
import java.util.logging.LogRecord;

/** Sends each line of a file as an object, as appenders without a layout do: `java Objects.java PORT FILE`. */
public class Objects {
    public static void main(String[] args) throws Exception {
        try (Socket socket = new Socket("127.0.0.1", Integer.parseInt(args[0]));
                ObjectOutputStream objects = new ObjectOutputStream(socket.getOutputStream())) {
            for (String line : Files.readAllLines(Path.of(args[1]))) {
                objects.writeObject(new LogRecord(Level.INFO, line));
                objects.reset();
            }
        }
    }
}
