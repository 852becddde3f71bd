// Logs each line of a file by Go's log/syslog: syslog tcp|udp|unix ADDRESS FILE
package main

import (
	"bufio"
	"log"
	"log/syslog"
	"os"
)

func main() {
	writer, err := syslog.Dial(os.Args[1], os.Args[2], syslog.LOG_LOCAL0, "app")
	if err != nil {
		log.Fatal(err)
	}
	file, err := os.Open(os.Args[3])
	if err != nil {
		log.Fatal(err)
	}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if err := writer.Notice(lines.Text()); err != nil {
			log.Fatal(err)
		}
	}
	if err := writer.Close(); err != nil {
		log.Fatal(err)
	}
}
