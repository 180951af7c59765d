package pull

import "satchel/internal/ident"

// seen is a set of ordinals that is only added to and asked. Ordinals mostly
// come in runs: the piece used last is at hand. The zero value is empty.
type seen struct {
	pieces map[ident.Ordinal]*piece
	last   *piece
	lastNo ident.Ordinal
}

// piece has a bit for each of pieceSize ordinals: few enough that a page of one
// record costs little.
type piece [pieceSize / 64]uint64

const pieceSize = 1024

// at returns the piece of an ordinal, nil where there is none.
func (s *seen) at(o ident.Ordinal) *piece {
	no := o / pieceSize
	if s.last != nil && s.lastNo == no {
		return s.last
	}
	p := s.pieces[no]
	if p != nil {
		s.last, s.lastNo = p, no
	}
	return p
}

func (s *seen) has(o ident.Ordinal) bool {
	p := s.at(o)
	return p != nil && p[o%pieceSize/64]&(1<<(o%64)) != 0
}

func (s *seen) add(o ident.Ordinal) {
	p := s.at(o)
	if p == nil {
		if s.pieces == nil {
			s.pieces = map[ident.Ordinal]*piece{}
		}
		p = &piece{}
		s.pieces[o/pieceSize], s.last, s.lastNo = p, p, o/pieceSize
	}
	p[o%pieceSize/64] |= 1 << (o % 64)
}
