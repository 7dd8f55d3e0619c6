package runtime

import (
	"testing"

	"pgregory.net/rapid"

	"rmemrun/rmem"
)

var _ rmem.Directory = (*directory)(nil)

func TestDirectory(t *testing.T) {
	d := newDirectory(3)
	r := rmem.Record{Segment: 7, Generation: 2}
	steps := []struct {
		what      string
		got, want rmem.Error
	}{
		{"publish", d.Publish(1, "box", r), rmem.OK},
		{"the same name on another node", d.Publish(2, "box", r), rmem.OK},
		{"the same name on the same node", d.Publish(1, "box", r), rmem.EEXIST},
	}
	for _, s := range steps {
		if s.got != s.want {
			t.Errorf("%s: %s, want %s", s.what, s.got.Name(), s.want.Name())
		}
	}
	if got, e := d.Lookup(1, "box"); e != rmem.OK || got != r {
		t.Errorf("lookup found %v, %s", got, e.Name())
	}
	if _, e := d.Lookup(1, "\x00box"); e != rmem.ENOENT {
		t.Errorf("another name was found: %s", e.Name())
	}
	d.Withdraw(1, "box")
	if _, e := d.Lookup(1, "box"); e != rmem.ENOENT {
		t.Errorf("a withdrawn segment was found: %s", e.Name())
	}
	if e := d.Publish(1, "box", r); e != rmem.OK {
		t.Errorf("a withdrawn name cannot be published: %s", e.Name())
	}
	d.Leave(1)
	if _, e := d.Lookup(1, "box"); e != rmem.EDOWN {
		t.Errorf("lookup at a node that has left: %s", e.Name())
	}
	if e := d.Publish(1, "new", r); e != rmem.EDOWN {
		t.Errorf("publish of a node that has left: %s", e.Name())
	}
	if _, e := d.Lookup(2, "box"); e != rmem.OK {
		t.Errorf("lookup at a node that has not left: %s", e.Name())
	}
}

func TestDirectoryWatch(t *testing.T) {
	for _, test := range []struct {
		name string
		act  func(*directory)
		want int
	}{
		{"nothing happens", func(*directory) {}, 0},
		{"published", func(d *directory) { d.Publish(1, "box", rmem.Record{}) }, 1},
		{"published twice", func(d *directory) {
			d.Publish(1, "box", rmem.Record{})
			d.Withdraw(1, "box")
			d.Publish(1, "box", rmem.Record{})
		}, 1},
		{"another name", func(d *directory) { d.Publish(1, "bo", rmem.Record{}) }, 0},
		{"another node", func(d *directory) { d.Publish(0, "box", rmem.Record{}) }, 0},
		{"the node leaves", func(d *directory) { d.Leave(1); d.Leave(1) }, 1},
		{"another node leaves", func(d *directory) { d.Leave(0) }, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := newDirectory(2)
			var woken, cancelled int
			d.Watch(1, "box", func() {
				woken++
				d.Lookup(1, "box") // it is called without the directory's lock
			})
			d.Watch(1, "box", func() { cancelled++ })()
			test.act(d)
			if woken != test.want || cancelled != 0 {
				t.Errorf("the watcher was woken %d times, want %d; the cancelled one %d times", woken, test.want, cancelled)
			}
			if len(d.watchers) != 1-test.want {
				t.Errorf("%d watchers are left", len(d.watchers))
			}
		})
	}

	t.Run("what is so already", func(t *testing.T) {
		d := newDirectory(2)
		d.Publish(1, "box", rmem.Record{})
		d.Leave(0)
		woken := 0
		d.Watch(1, "box", func() { woken++ })()
		d.Watch(0, "any", func() { woken++ })()
		if woken != 2 {
			t.Errorf("%d of 2 watchers were woken", woken)
		}
	})
}

// Whatever nodes publish, withdraw and leave, a lookup finds what a plain model finds, and a watcher is woken exactly when a
// lookup would first not have found nothing.
func TestDirectoryModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const nodes = 3
		d := newDirectory(nodes)
		model := map[key]rmem.Record{}
		var gone [nodes]bool
		type watch struct {
			key
			woken, want int
		}
		var watches []*watch
		known := func(k key) bool {
			_, ok := model[k]
			return ok || gone[k.node]
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			k := key{rapid.IntRange(0, nodes-1).Draw(t, "node"), rapid.SampledFrom([]string{"a", "b"}).Draw(t, "name")}
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0:
				r := rmem.Record{Segment: rapid.Uint32().Draw(t, "segment")}
				if d.Publish(k.node, k.name, r) == rmem.OK {
					model[k] = r
				}
			case 1:
				d.Withdraw(k.node, k.name)
				delete(model, k)
			case 2:
				d.Leave(k.node)
				gone[k.node] = true
				for other := range model {
					if other.node == k.node {
						delete(model, other)
					}
				}
			default:
				w := &watch{key: k}
				watches = append(watches, w)
				d.Watch(k.node, k.name, func() { w.woken++ })
			}
			for _, w := range watches {
				if known(w.key) {
					w.want = 1
				}
				if w.woken != w.want {
					t.Fatalf("the watcher of %v was woken %d times, want %d", w.key, w.woken, w.want)
				}
			}
			want, published := model[k]
			got, e := d.Lookup(k.node, k.name)
			switch {
			case gone[k.node] && e != rmem.EDOWN, !gone[k.node] && !published && e != rmem.ENOENT,
				published && (e != rmem.OK || got != want):
				t.Fatalf("lookup of %v: %v, %s", k, got, e.Name())
			}
		}
	})
}
