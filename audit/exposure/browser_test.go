package exposure

import (
	"bytes"
	"fmt"
	"html"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// browser is a headless Chromium. Whatever a page says to the console fails the test.
type browser struct {
	*testing.T
	dir string
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	if os.Getenv("FWCTL_BROWSER") == "" {
		t.Skip("it needs a browser: make browser")
	}
	if _, err := exec.LookPath("chromium"); err != nil {
		t.Fatal(err)
	}
	return &browser{t, t.TempDir()}
}

// page writes a page and returns its address.
func (b *browser) page(name, text string) string {
	b.Helper()
	file := filepath.Join(b.dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	return "file://" + file
}

// flags are those of every start.
func (b *browser) flags(profile string) []string {
	return []string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars", "--user-data-dir=" + profile,
	}
}

// profile makes a directory for one start of the browser. Its processes may write there
// for a moment after it has ended.
func (b *browser) profile() (dir string, remove func()) {
	b.Helper()
	dir, err := os.MkdirTemp(b.dir, "profile")
	if err != nil {
		b.Fatal(err)
	}
	return dir, func() {
		until := time.Now().Add(10 * time.Second)
		for err := os.RemoveAll(dir); err != nil; err = os.RemoveAll(dir) {
			if time.Now().After(until) {
				b.Error(err)
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
}

// run starts the browser for one page; out is what it prints, console what the page said.
func (b *browser) run(url string, flags ...string) (out string, console []string) {
	b.Helper()
	profile, remove := b.profile()
	defer remove()
	args := append(append(b.flags(profile), "--enable-logging=stderr"), flags...)
	c := exec.CommandContext(b.Context(), "chromium", append(args, url)...)
	c.WaitDelay = 5 * time.Second
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Run(); err != nil {
		b.Fatalf("chromium: %v\n%s", err, stderr.String())
	}
	for line := range strings.Lines(stderr.String()) {
		if strings.Contains(line, "CONSOLE") {
			console = append(console, line)
		}
	}
	return stdout.String(), console
}

// quiet is run for a page that has nothing to say.
func (b *browser) quiet(url string, flags ...string) string {
	b.Helper()
	out, console := b.run(url, flags...)
	if len(console) > 0 {
		b.Errorf("the page says to the console:\n%s", console)
	}
	return out
}

// The browser sees the tables and the picture, and no script, whatever names there are;
// a script that was put into the page does not run.
func TestBrowserReads(t *testing.T) {
	b := newBrowser(t)
	for name, r := range map[string]*Report{"harmless": everything("nginx", "redis-server"), "hostile": everything(hostile...), "empty": {}} {
		text := pageOf(t, r, name)
		want, got := parsed(t, text), parsed(t, b.quiet(b.page(name+".html", text), "--dump-dom"))
		for what := range want {
			if len(got[what]) != len(want[what]) {
				t.Errorf("%s: %d of <%s>, want %d", name, len(got[what]), what, len(want[what]))
			}
		}
		if len(got["script"]) > 0 {
			t.Errorf("%s: a script", name)
		}
	}
	forged := strings.Replace(pageOf(t, &Report{}, "x"), "</main>", "<script>document.title='ran'</script></main>", 1)
	out, console := b.run(b.page("forged.html", forged), "--dump-dom")
	if len(console) == 0 || strings.Contains(out, "<title>ran") {
		t.Errorf("a script in the page is not refused: %s", console)
	}
}

// The page is light or dark as the reader's system is, and can be printed.
func TestBrowserShows(t *testing.T) {
	b := newBrowser(t)
	url := b.page("page.html", pageOf(t, everything(hostile...), "web1.example.org"))
	for scheme, light := range map[int]bool{0: false, 1: true} {
		file := filepath.Join(b.dir, fmt.Sprintf("%d.png", scheme))
		b.quiet(url, fmt.Sprintf("--blink-settings=preferredColorScheme=%d", scheme), "--window-size=1280,1000", "--screenshot="+file)
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		image, err := png.Decode(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		if r, _, _, _ := image.At(2, 2).RGBA(); image.Bounds().Dx() != 1280 || light != (r > 0xf000) || !light != (r < 0x2000) {
			t.Errorf("light: %v, but the paper's red is %#x; %v", light, r, image.Bounds())
		}
	}
	file := filepath.Join(b.dir, "page.pdf")
	b.quiet(url, "--print-to-pdf="+file)
	if text, err := os.ReadFile(file); err != nil || !bytes.HasPrefix(text, []byte("%PDF-")) || len(text) < 10_000 {
		t.Errorf("printed: %d bytes, %v", len(text), err)
	}
}

// However narrow the window is, the page is no wider: what is wide scrolls by itself.
func TestBrowserFits(t *testing.T) {
	b := newBrowser(t)
	text := html.EscapeString(pageOf(t, everything(hostile...), strings.Repeat("long-", 30)))
	for _, width := range []int{320, 400, 1280} {
		frame := fmt.Sprintf(`<!DOCTYPE html><iframe style="width:%dpx;height:900px;border:0" srcdoc="%s"></iframe><p></p><script>
onload = () => { document.querySelector("p").textContent = "width " + document.querySelector("iframe").contentDocument.documentElement.scrollWidth; };</script>`, width, text)
		out := b.quiet(b.page("frame.html", frame), "--window-size=1400,1000", "--dump-dom")
		said := regexp.MustCompile(`<p>width (\d+)</p>`).FindStringSubmatch(out)
		if said == nil || said[1] != fmt.Sprint(width) {
			t.Errorf("at %d the page's width is %q", width, said)
		}
	}
}

// Everything that can be used is reached by Tab alone, in the order of the page, and is
// marked when it is; Enter opens what is folded; the links lead to their parts.
func TestBrowserByKeyboard(t *testing.T) {
	b := newBrowser(t)
	d := b.open(b.page("page.html", pageOf(t, everything("nginx", "caddy"), "web1.example.org")))
	all := d.says(`(window.all = [...document.querySelectorAll("a[href], summary, [tabindex], button, input, select, textarea")]).length`)
	if n, _ := strconv.Atoi(all); n < 20 {
		t.Fatalf("%s parts that can be used", all)
	}
	var order []string
	for range 200 {
		d.press("Tab", 9, "")
		i := d.says(`all.indexOf(document.activeElement)`)
		if i == "-1" || i == "0" && len(order) > 0 { // out of the page, or around
			break
		}
		order = append(order, i)
		if mark := d.says(`getComputedStyle(document.activeElement).outlineStyle`); mark != "solid" {
			t.Errorf("part %s is not marked: %s", i, mark)
		}
		if seen := d.says(`document.activeElement.getBoundingClientRect().right > 0`); seen != "true" {
			t.Errorf("part %s is not to be seen", i)
		}
		d.enter(i)
	}
	var want []string
	n, _ := strconv.Atoi(all)
	for i := range n {
		want = append(want, strconv.Itoa(i))
	}
	if !slices.Equal(order, want) {
		t.Errorf("by Tab one gets to %v, want all of %s in order", order, all)
	}
}

// enter presses Enter on the part that has the focus, and sees what comes of it.
func (d *devtools) enter(i string) {
	d.Helper()
	switch d.says(`document.activeElement.tagName`) {
	case "SUMMARY":
		d.press("Enter", 13, "\r")
		if d.says(`all[`+i+`].parentElement.open`) != "true" {
			d.Errorf("part %s does not open", i)
		}
	case "A":
		if to := d.says(`document.getElementById(all[` + i + `].hash.slice(1))?.tagName`); to != "H2" && to != "MAIN" {
			d.Errorf("part %s leads to %s", i, to)
		}
	}
}
