package nftables

// Comment returns the comment in the user data of a rule or an element, where
// nft keeps it as the entry of type 0 (libnftnl/udata.h): a type byte, a length
// byte, the value. Sets and chains keep theirs under other types.
func Comment(userdata []byte) string {
	for len(userdata) >= 2 {
		n := int(userdata[1])
		if len(userdata) < 2+n {
			return ""
		}
		if userdata[0] == 0 {
			return text(userdata[2 : 2+n])
		}
		userdata = userdata[2+n:]
	}
	return ""
}
