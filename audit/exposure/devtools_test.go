package exposure

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"testing"
	"time"
)

// devtools drives one page of a browser by the protocol of its developer tools, over a
// pipe (chromedevtools.github.io/devtools-protocol). Whatever the page says to the
// console fails the test.
type devtools struct {
	*testing.T
	to      *os.File
	from    *bufio.Reader
	session string
	last    int
}

type devtoolsMessage struct {
	ID     int             `json:"id,omitempty"`
	Method string          `json:"method,omitempty"`
	Params any             `json:"params,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  json.RawMessage `json:"error,omitempty"`
	// Session is that of the page; empty: the browser itself is spoken to.
	Session string `json:"sessionId,omitempty"`
}

// open starts a browser that shows the page.
func (b *browser) open(url string) *devtools {
	b.Helper()
	theirIn, to, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	from, theirOut, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	profile, remove := b.profile()
	c := exec.CommandContext(b.Context(), "chromium", append(b.flags(profile), "--remote-debugging-pipe", "--window-size=1280,1000")...)
	c.ExtraFiles = []*os.File{theirIn, theirOut} // as 3 and 4
	c.WaitDelay = 5 * time.Second
	if err := c.Start(); err != nil {
		b.Fatal(err)
	}
	theirIn.Close()
	theirOut.Close()
	_ = from.SetReadDeadline(time.Now().Add(time.Minute))
	d := &devtools{T: b.T, to: to, from: bufio.NewReaderSize(from, 1<<20)}
	b.Cleanup(func() {
		d.session = ""
		d.send("Browser.close", nil)
		_ = c.Wait()
		remove()
		to.Close()
		from.Close()
	})
	var target struct{ TargetID string }
	d.ask("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var at struct{ SessionID string }
	d.ask("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &at)
	d.session = at.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log"} {
		d.ask(domain+".enable", nil, nil)
	}
	d.ask("Page.navigate", map[string]any{"url": url}, nil)
	d.until("Page.loadEventFired")
	return d
}

func (d *devtools) send(method string, params any) {
	d.last++
	text, err := json.Marshal(devtoolsMessage{ID: d.last, Method: method, Params: params, Session: d.session})
	if err == nil {
		_, err = d.to.Write(append(text, 0))
	}
	if err != nil {
		d.Errorf("%s: %v", method, err)
	}
}

// next reads a message. The page says nothing.
func (d *devtools) next() devtoolsMessage {
	d.Helper()
	text, err := d.from.ReadBytes(0)
	if err != nil {
		d.Fatalf("the browser has gone: %v", err)
	}
	var m devtoolsMessage
	if err := json.Unmarshal(text[:len(text)-1], &m); err != nil {
		d.Fatal(err)
	}
	switch m.Method {
	case "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded":
		d.Errorf("the page says: %s", text)
	}
	return m
}

func (d *devtools) until(event string) {
	d.Helper()
	for d.next().Method != event {
	}
}

// ask sends a command and waits for its result.
func (d *devtools) ask(method string, params, into any) {
	d.Helper()
	d.send(method, params)
	for {
		m := d.next()
		if m.ID != d.last {
			continue
		}
		if m.Error != nil {
			d.Fatalf("%s: %s", method, m.Error)
		}
		if into == nil {
			return
		}
		if err := json.Unmarshal(m.Result, into); err != nil {
			d.Fatal(err)
		}
		return
	}
}

// says evaluates JavaScript, which no policy of the page keeps the tools from.
func (d *devtools) says(script string) string {
	d.Helper()
	var r struct{ Result struct{ Value any } }
	d.ask("Runtime.evaluate", map[string]any{"expression": "String(" + script + ")", "returnByValue": true}, &r)
	text, _ := r.Result.Value.(string)
	return text
}

// press presses and releases a key.
func (d *devtools) press(key string, code int, text string) {
	d.Helper()
	params := map[string]any{"type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": code}
	if text != "" {
		params["text"] = text
	}
	d.ask("Input.dispatchKeyEvent", params, nil)
	d.ask("Input.dispatchKeyEvent", map[string]any{"type": "keyUp", "key": key, "code": key, "windowsVirtualKeyCode": code}, nil)
}
