package decode

import "testing"

// TestRoundTrip encodes and decodes every operation in every modification.
func TestRoundTrip(t *testing.T) {
	decoders := map[Arch]func([]byte) (Instruction, error){ArchAMD64: AMD64, ArchARM64: ARM64}
	for arch, decode := range decoders {
		n := 0
		for i := range valid(arch) {
			code, err := Encode(i)
			if err != nil {
				t.Fatalf("Encode(%+v): %v", i, err)
			}
			i.Len = uint8(len(code))
			got, err := decode(code)
			if err != nil {
				t.Fatalf("%v: % x (%v): %v", arch, code, i, err)
			}
			if got != i {
				t.Fatalf("%v: % x: got %+v, want %+v", arch, code, got, i)
			}
			n++
		}
		if n == 0 {
			t.Errorf("%v: no instruction tried", arch)
		}
	}
}
