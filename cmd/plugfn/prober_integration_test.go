//go:build integration

package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/plugfn/plugfn/pkg/events"
)

const proberSecret = "It's a Secret to Everybody"

// probed is what is killed: an ingress, and the NATS server that it needs.
type probed struct {
	*testing.T
	dir, http, nats string
	ingress, server *exec.Cmd
	program         []string // the ingress
	log             bytes.Buffer
}

func buildProgram(t *testing.T, pkg string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "program")
	if out, err := exec.Command("go", "build", "-o", program, pkg).CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", pkg, err, out)
	}
	return program
}

func newProbed(t *testing.T, program ...string) *probed {
	t.Helper()
	p := &probed{T: t, dir: t.TempDir(), http: freeAddr(t), nats: freeAddr(t), program: program}
	host := fmt.Sprintf("listen: %q\njetstream: {store_dir: %q, sync_interval: always}\n", p.nats, filepath.Join(p.dir, "store"))
	if err := os.WriteFile(filepath.Join(p.dir, "nats.conf"), []byte(host), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		end(p.ingress)
		end(p.server)
		if t.Failed() {
			t.Logf("%s", p.log.Bytes())
		}
	})
	return p
}

// end kills without a word and waits.
func end(cmd *exec.Cmd) {
	if cmd != nil && cmd.Process != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

func (p *probed) startServer(program string) {
	p.Helper()
	p.server = exec.Command(program, "-c", filepath.Join(p.dir, "nats.conf"))
	if err := p.server.Start(); err != nil {
		p.Fatal(err)
	}
	p.until("a NATS server", func() bool {
		conn, err := nats.Connect("nats://" + p.nats)
		if err != nil {
			return false
		}
		conn.Close()
		return true
	})
}

func (p *probed) startIngress() {
	p.Helper()
	p.ingress = exec.Command(p.program[0], p.program[1:]...)
	p.ingress.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + p.dir, "PLUGFN_DATA_DIR=" + filepath.Join(p.dir, "data"), "PLUGFN_HTTP_ADDR=" + p.http,
		"PLUGFN_NATS_URL=nats://" + p.nats, "PLUGFN_GITHUB_WEBHOOK_SECRET=" + proberSecret, "PLUGFN_LOG_LEVEL=warn",
	}
	p.ingress.Stderr = &p.log
	if err := p.ingress.Start(); err != nil {
		p.Fatal(err)
	}
	p.until("a ready ingress", p.isReady)
}

func (p *probed) isReady() bool {
	w, err := http.Get("http://" + p.http + "/readyz")
	if err != nil {
		return false
	}
	w.Body.Close()
	return w.StatusCode == http.StatusOK
}

func (p *probed) until(what string, ok func() bool) {
	p.Helper()
	for deadline := time.Now().Add(60 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.Fatalf("waited in vain for %s", what)
		}
	}
}

// prober offers deliveries at a steady rate whatever becomes of those before, as a
// provider does that repeats what is refused, and keeps a ledger of those that
// were acknowledged.
type prober struct {
	url    string
	client *http.Client

	offered  int
	took     time.Duration
	lateness []time.Duration // of each first attempt, after its time

	mu     sync.Mutex
	acked  map[string]bool
	failed int // answers that were no 2xx, or none
}

const (
	probeRate  = 500 // deliveries a second
	probeTries = 4
	probeHands = 8192 // deliveries in hand, those that wait to be repeated among them
)

func newProber(addr string) *prober {
	return &prober{
		url:    "http://" + addr + "/webhooks/github",
		client: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 512}},
		acked:  map[string]bool{},
	}
}

// run offers until ctx ends, and returns when every delivery has been
// acknowledged or given up. Each has its time; one that is late does not delay the
// next.
func (p *prober) run(ctx context.Context) {
	var all sync.WaitGroup
	hands := make(chan struct{}, probeHands)
	begun := time.Now()
	for ; ctx.Err() == nil; p.offered++ {
		due := begun.Add(time.Duration(p.offered) * time.Second / probeRate)
		select {
		case <-ctx.Done():
			continue
		case <-time.After(time.Until(due)):
		}
		hands <- struct{}{}
		p.lateness = append(p.lateness, time.Since(due))
		i := p.offered
		all.Go(func() {
			p.deliver(i)
			<-hands
		})
	}
	p.took = time.Since(begun)
	all.Wait()
	p.client.CloseIdleConnections()
}

// checkRate says how many were offered, and fails the test if they were fewer
// than there should have been.
func (p *prober) checkRate(t *testing.T) {
	t.Helper()
	slices.Sort(p.lateness)
	rate := float64(len(p.lateness)) / p.took.Seconds()
	t.Logf("%d deliveries offered in %s: %.0f a second, 99 %% of them at most %s late", len(p.lateness), p.took.Round(time.Millisecond),
		rate, p.lateness[len(p.lateness)*99/100].Round(time.Millisecond))
	if rate < 0.95*probeRate {
		t.Errorf("only %.0f deliveries a second were offered", rate)
	}
}

func (p *prober) deliver(i int) {
	id := fmt.Sprintf("d-%06d", i)
	body := fmt.Appendf(nil, `{"action":"opened","issue":{"number":%d},"repository":{"id":%d,"full_name":"octo/hello"}}`, i, i%200)
	mac := hmac.New(sha256.New, []byte(proberSecret))
	mac.Write(body)
	for try := range probeTries {
		ok := p.post(id, body, "sha256="+hex.EncodeToString(mac.Sum(nil)))
		p.mu.Lock()
		if ok {
			p.acked[id] = true
		} else {
			p.failed++
		}
		p.mu.Unlock()
		if ok {
			return
		}
		time.Sleep(time.Duration(try+1) * 300 * time.Millisecond)
	}
}

func (p *prober) post(id string, body []byte, signature string) bool {
	r, err := http.NewRequest(http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return false
	}
	r.Header = http.Header{
		"Content-Type": {"application/json"}, "X-Github-Event": {"issues"}, "X-Github-Delivery": {id}, "X-Hub-Signature-256": {signature},
	}
	w, err := p.client.Do(r)
	if err != nil {
		return false
	}
	_, _ = io.Copy(io.Discard, w.Body)
	w.Body.Close()
	return w.StatusCode == http.StatusOK
}

func (p *prober) count() (acked, failed int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.acked), p.failed
}

// stored counts the events of the stream by id.
func (p *probed) stored() map[string]int {
	p.Helper()
	conn, err := nats.Connect("nats://" + p.nats)
	if err != nil {
		p.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		p.Fatal(err)
	}
	stream, err := js.Stream(p.Context(), events.StreamEvents)
	if err != nil {
		p.Fatal(err)
	}
	consumer, err := stream.CreateConsumer(p.Context(), jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy, HeadersOnly: true})
	if err != nil {
		p.Fatal(err)
	}
	ids := map[string]int{}
	for left := stream.CachedInfo().State.Msgs; left > 0; {
		batch, err := consumer.Fetch(int(min(left, 5000)), jetstream.FetchMaxWait(10*time.Second))
		if err != nil {
			p.Fatal(err)
		}
		for msg := range batch.Messages() {
			ids[msg.Headers().Get("ce-id")]++
			left--
		}
		if batch.Error() != nil {
			p.Fatal(batch.Error())
		}
	}
	return ids
}

// lost and doubled compare the ledger with the stream.
func (p *prober) compare(stored map[string]int) (lost, doubled int) {
	for id := range p.acked {
		if stored[id] == 0 {
			lost++
		}
	}
	for _, n := range stored {
		if n > 1 {
			doubled++
		}
	}
	return lost, doubled
}

// TestNothingAcknowledgedIsLost kills the ingress ten times under load, takes the
// bus away for twenty seconds, and kills it once more in the midst of them.
func TestNothingAcknowledgedIsLost(t *testing.T) {
	server := buildProgram(t, "github.com/nats-io/nats-server/v2")
	p := newProbed(t, buildProgram(t, "."), "serve", "ingress")
	p.startServer(server)
	p.startIngress()
	prober := newProber(p.http)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan struct{})
	go func() { defer close(done); prober.run(ctx) }()

	const kills, outage = 10, 20 * time.Second
	for range kills {
		time.Sleep(700 * time.Millisecond)
		end(p.ingress)
		p.startIngress()
	}
	before, _ := prober.count()
	end(p.server)
	time.Sleep(outage / 2)
	end(p.ingress) // and once without a bus
	p.startIngress()
	time.Sleep(outage / 2)
	if during, _ := prober.count(); during-before < probeRate*int(outage.Seconds())*7/10 {
		t.Errorf("only %d deliveries were acknowledged while the bus was away", during-before)
	}
	if !p.isReady() {
		t.Error("not ready, though the spool has room")
	}
	p.startServer(server)
	time.Sleep(2 * time.Second)
	stop()
	<-done

	acked, failed := prober.count()
	var stored map[string]int
	p.until("the spool to be forwarded", func() bool {
		stored = p.stored()
		return len(stored) >= acked
	})
	prober.checkRate(t)
	lost, doubled := prober.compare(stored)
	t.Logf("%d acknowledged, %d refused or cut off and repeated, %d stored, %d lost, %d doubled", acked, failed, len(stored), lost, doubled)
	if lost > 0 || doubled > 0 {
		t.Errorf("%d acknowledged deliveries are lost, %d are stored twice", lost, doubled)
	}
}

// TestProberFindsAHastyIngress: the same prober sees what an ingress loses that
// answers before the bus does.
func TestProberFindsAHastyIngress(t *testing.T) {
	server := buildProgram(t, "github.com/nats-io/nats-server/v2")
	p := newProbed(t, buildProgram(t, "./testdata/hasty"))
	p.startServer(server)
	p.startIngress()
	prober := newProber(p.http)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan struct{})
	go func() { defer close(done); prober.run(ctx) }()
	for range 3 {
		time.Sleep(700 * time.Millisecond)
		end(p.ingress)
		p.startIngress()
	}
	end(p.server)
	time.Sleep(time.Second)
	p.startServer(server)
	time.Sleep(2 * time.Second)
	stop()
	<-done
	prober.checkRate(t)
	lost, _ := prober.compare(p.stored())
	acked, _ := prober.count()
	t.Logf("%d acknowledged, %d lost", acked, lost)
	if lost == 0 {
		t.Error("the prober has missed what was lost")
	}
}
