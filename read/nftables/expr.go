package nftables

// Attributes of expressions, all from linux/netfilter/nf_tables.h.
const (
	payloadDreg, payloadBase, payloadOffset, payloadLen, payloadSreg = 1, 2, 3, 4, 5

	metaDreg, metaKey, metaSreg        = 1, 2, 3
	ctDreg, ctKey, ctDirection, ctSreg = 1, 2, 3, 4
	cmpSreg, cmpOp, cmpData            = 1, 2, 3
	rangeSreg, rangeOp                 = 1, 2
	rangeFrom, rangeTo                 = 3, 4
	fibDreg, fibResult, fibFlags       = 1, 2, 3

	bitwiseSreg, bitwiseDreg, bitwiseLen, bitwiseMask, bitwiseXor = 1, 2, 3, 4, 5
	bitwiseOp, bitwiseData, bitwiseSreg2                          = 6, 7, 8

	byteorderSreg, byteorderDreg, byteorderOp, byteorderLen, byteorderSize = 1, 2, 3, 4, 5

	immediateDreg, immediateData               = 1, 2
	lookupSet, lookupSreg, lookupDreg          = 1, 2, 3
	lookupFlags                                = 5
	limitRate, limitUnit, limitBurst           = 1, 2, 3
	limitType, limitFlags                      = 4, 5
	dynsetName, dynsetOp, dynsetKey, dynsetVal = 1, 3, 4, 5
	dynsetTimeout, dynsetExpr                  = 6, 7
	dynsetFlags, dynsetExprs                   = 9, 10

	objrefType, objrefName                = 1, 2
	objrefSreg, objrefSet                 = 3, 4
	natType, natFamily, natFlags          = 1, 2, 7
	natAddrMin, natAddrMax                = 3, 4
	natPortMin, natPortMax                = 5, 6
	masqFlags, masqPortMin, masqPortMax   = 1, 2, 3
	redirPortMin, redirPortMax            = 1, 2
	redirFlags                            = 3
	rejectType, rejectCode                = 1, 2
	logGroup, logPrefix, logLevel         = 1, 2, 5
	quotaBytes, quotaFlags                = 1, 2
	connlimitCount, connlimitFlags        = 1, 2
	queueNum, queueTotal, queueFlags      = 1, 2, 3
	xtName                                = 1
	tproxyFamily, tproxyAddr, tproxyPort  = 1, 2, 3
	numgenDreg, numgenMod, numgenType     = 1, 2, 3
	numgenOffset                          = 4
	hashSreg, hashDreg, hashLen, hashMod  = 1, 2, 3, 4
	hashType                              = 7
	rtDreg, rtKey                         = 1, 2
	socketKey, socketDreg                 = 1, 2
	exthdrDreg, exthdrType, exthdrOffset  = 1, 2, 3
	exthdrLen, exthdrFlags, exthdrOp      = 4, 5, 6
	exthdrSreg                            = 7
	osfDreg                               = 1
	xfrmDreg, xfrmKey, xfrmDir            = 1, 2, 3
	flowTable, synproxyMSS, synproxyScale = 1, 1, 2
)

// args are the attributes of one expression by type, nil where it has none.
type args [16][]byte

func argsOf(e Expr) (a args) {
	_ = eachAttr(e.Data, func(at Attr) error { // a cut-off attribute is an absent one
		if int(at.Type) < len(a) {
			a[at.Type] = at.Data
		}
		return nil
	})
	return a
}

func (a *args) has(i int) bool            { return a[i] != nil }
func (a *args) num(i int) uint64          { return number(a[i]) }
func (a *args) text(i int) string         { return text(a[i]) }
func (a *args) value(i int) []byte        { v, _ := valueOf(a[i]); return v }
func (a *args) flag(i int, f uint64) bool { return a.num(i)&f != 0 }

// valueOf reads nested data (NFTA_DATA_VALUE).
func valueOf(b []byte) ([]byte, bool) {
	v, err := decodeValue(b)
	return v, err == nil && v != nil
}

// Keys of meta (NFT_META_*).
const (
	keyLen, keyProtocol, keyPriority, keyMark    = 0, 1, 2, 3
	keyIIF, keyOIF, keyIIFName, keyOIFName       = 4, 5, 6, 7
	keyIIFType, keyOIFType, keyUID, keyGID       = 8, 9, 10, 11
	keyNFTrace, keyClassID, keySecmark           = 12, 13, 14
	keyNFProto, keyL4Proto, keyBriIIF, keyBriOIF = 15, 16, 17, 18
	keyPktType, keyCPU, keyIIFGroup, keyOIFGroup = 19, 20, 21, 22
	keyCgroup, keyRandom, keySecpath             = 23, 24, 25
	keyIIFKind, keyOIFKind                       = 26, 27
	keyTime, keyDay, keyHour                     = 30, 31, 32
	keySDIF, keySDIFName                         = 33, 34
	ifNameSize                                   = 16
)

// Keys of ct (NFT_CT_*).
const (
	keyState, keyDirection, keyStatus, keyCTMark          = 0, 1, 2, 3
	keySecmarkCT, keyExpiration, keyHelper, keyL3Protocol = 4, 5, 6, 7
	keyCTSrc, keyCTDst, keyCTProtocol, keyProtoSrc        = 8, 9, 10, 11
	keyProtoDst, keyLabels, keyPkts, keyBytes             = 12, 13, 14, 15
	keyAvgPkt, keyZone, keyEventMask                      = 16, 17, 18
	keySrcIP, keyDstIP, keySrcIP6, keyDstIP6, keyCTID     = 19, 20, 21, 22, 23
)

// Where a payload expression looks (NFT_PAYLOAD_*).
const (
	baseLink, baseNetwork, baseTransport, baseInner = 0, 1, 2, 3
)

// Where an exthdr expression looks (NFT_EXTHDR_OP_*); 0 is an extension header.
const (
	optionTCP, optionIPv4, chunkSCTP, optionDCCP = 1, 2, 3, 4
)

// comparison is an operator of cmp (NFT_CMP_*).
type comparison uint64

const (
	cmpEq comparison = iota
	cmpNeq
	cmpLt
	cmpLte
	cmpGt
	cmpGte
)

// Verdicts (NF_* in linux/netfilter.h, NFT_* in linux/netfilter/nf_tables.h).
const (
	verdictDrop, verdictAccept                                             = 0, 1
	verdictContinue, verdictBreak, verdictJump, verdictGoto, verdictReturn = -1, -2, -3, -4, -5
)
