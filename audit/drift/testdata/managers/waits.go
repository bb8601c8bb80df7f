// Command waits is what runs in the containers of a test.
package main

import "time"

func main() {
	for {
		time.Sleep(time.Hour)
	}
}
